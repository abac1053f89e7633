"""fastsrn_task_small: fastsrn_task with half of its channels pruned, tuned again: a twentieth of srn's time.

1.7 million parameters. Which channels stay is decided by their weights' L2 norm, over all layers that share them
(Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023; the package torch-pruning), in each layer half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from detbench.types import DetbenchError, Preset

from . import fastsrn_task, srn
from .fastsrn import FastSRN

HALF = tuple(width // 2 for width in srn.WIDTHS)


class PrunedFastSRN(FastSRN):
    """:class:`deblurers.fastsrn.FastSRN` of half the width, which can begin with what pruning leaves of that."""

    def __init__(self) -> None:
        super().__init__(HALF)

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Take the strongest half of the channels of a network of full width.

        Args:
            state: of that network.

        Raises:
            DetbenchError: torch-pruning is not installed.
        """
        try:
            import torch_pruning
        except ImportError as error:
            raise DetbenchError("Pruning needs torch-pruning: pip install 'detbench[prune]'") from error
        wide = FastSRN()
        wide.load_state_dict(state)
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
            recipe=replace(fastsrn_task.RECIPE, init_from="fastsrn_task", learning_rate=2e-4, iterations=12_000),
        )
    },
)
