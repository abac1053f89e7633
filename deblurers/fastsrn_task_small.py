"""fastsrn_task_small: fastsrn_task without a third of its blocks and half of its channels, tuned again.

1.2 million parameters at less than a twentieth of srn's time. Of each level's three residual blocks the innermost goes,
in the encoder and in the decoder. Then channels go: which ones stay is decided by their weights' L2 norm, over all
layers that share them (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023; the package torch-pruning).

Half of the channels at once leave nothing to tune: after 6,000 iterations the network helped no detector
(reports/training/task.md). So they go in two steps. ``three_quarters`` begins with fastsrn_task and is trained first;
``default``, which ships, begins with its weights: ``detbench train fastsrn_task_small --preset three_quarters``, then
``detbench train fastsrn_task_small --from WEIGHTS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from detbench.types import DetbenchError, Preset

from . import fastsrn_task, srn
from .fastsrn import FastSRN

BLOCKS = 2
"""Residual blocks of a level, in the encoder and in the decoder."""


class PrunedFastSRN(FastSRN):
    """A smaller :class:`deblurers.fastsrn.FastSRN`, which can begin with what pruning leaves of a larger one.

    Args:
        width: of the outermost level; the others have twice and four times as many channels.
    """

    def __init__(self, width: int = srn.WIDTHS[0] // 2) -> None:
        super().__init__((width, 2 * width, 4 * width), BLOCKS)

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Take the blocks that stay of a larger network, and of these the strongest channels.

        Args:
            state: of the larger network, whose levels relate to each other as this one's.

        Raises:
            DetbenchError: torch-pruning is not installed.
        """
        first = "layers.enc1_1.weight"
        if state[first].shape == self.state_dict()[first].shape:  # its own, to be trained on
            self.load_state_dict(state)
            return
        try:
            import torch_pruning
        except ImportError as error:
            raise DetbenchError("Pruning needs torch-pruning: pip install 'detbench[prune]'") from error
        larger = PrunedFastSRN(len(state[first]))
        larger.load_state_dict({name: state[name] for name in larger.state_dict()})
        torch_pruning.MagnitudePruner(
            larger.eval(),
            torch.zeros(1, 3, 32, 32),
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=1 - len(self.state_dict()[first]) / len(state[first]),
            ignored_layers=[larger.layers["dec1_0"]],
        ).step()
        self.load_state_dict(larger.state_dict())


RECIPE = replace(fastsrn_task.RECIPE, init_from="fastsrn_task", learning_rate=2e-4, iterations=6_000)

SPEC = replace(
    fastsrn_task.SPEC,
    build=PrunedFastSRN,
    presets={
        "three_quarters": Preset({"width": 24}, multiple_of=8, recipe=RECIPE),
        "default": Preset({"width": 16}, multiple_of=8, recipe=replace(RECIPE, iterations=12_000)),
    },
)
