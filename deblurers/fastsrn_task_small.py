"""fastsrn_task_small: fastsrn_task without a third of its blocks and half of its channels, tuned again.

1.2 million parameters at less than a twentieth of srn's time. Of each level's three residual blocks the innermost goes,
in the encoder and in the decoder. Then half of each layer's channels go: which ones stay is decided by their weights'
L2 norm, over all layers that share them (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023; the
package torch-pruning).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from detbench.types import DetbenchError, Preset

from . import fastsrn_task, srn
from .fastsrn import FastSRN

WIDTHS = tuple(width // 2 for width in srn.WIDTHS)
BLOCKS = 2


class PrunedFastSRN(FastSRN):
    """A smaller :class:`deblurers.fastsrn.FastSRN`, which can begin with what pruning leaves of the whole one."""

    def __init__(self) -> None:
        super().__init__(WIDTHS, BLOCKS)

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Take the blocks that stay of a whole network, and of these the strongest half of the channels.

        Args:
            state: of the whole network.

        Raises:
            DetbenchError: torch-pruning is not installed.
        """
        try:
            import torch_pruning
        except ImportError as error:
            raise DetbenchError("Pruning needs torch-pruning: pip install 'detbench[prune]'") from error
        wide = FastSRN(blocks=BLOCKS)
        wide.load_state_dict({name: state[name] for name in wide.state_dict()})
        torch_pruning.MagnitudePruner(
            wide.eval(),
            torch.zeros(1, 3, 32, 32),
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=0.5,
            ignored_layers=[wide.layers["dec1_0"]],
        ).step()
        self.load_state_dict(wide.state_dict())


SPEC = replace(
    fastsrn_task.SPEC,
    build=PrunedFastSRN,
    presets={
        "default": Preset(
            multiple_of=8,
            recipe=replace(fastsrn_task.RECIPE, init_from="fastsrn_task", learning_rate=4e-4, iterations=6_000),
        )
    },
)
