"""The Muon optimizer, for networks of convolutions.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024): the momentum of a layer's weights, as a
matrix, is replaced by the orthogonal one nearest to it, so that every direction of it moves by the same step, and not
those alone that most gradients have in common. The length of the step is what Adam's would be (Liu et al., "Muon is
Scalable for LLM Training", 2025, section 2.2), times two.

torch.optim.Muon takes matrices alone, and iterates on these; here that is done on their Gram matrices, which costs a
core half the time.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam

MOMENTUM = 0.95
STEP = 0.4
"""Root mean square of what a rate of 1 changes. Adam's is about 0.2; twice that learned faster."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the iteration's polynomial, from Jordan et al.: singular values end between 0.7 and 1.2, soon rather than at 1."""
ITERATIONS = 5


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix with all its singular values near 1: five of Newton and Schulz's iterations, as Jordan et al. have it.

    Args:
        matrix: (M, N), float32.

    Returns:
        The same shape. Singular values below about 1e-4 of the largest stay below 1.
    """
    a, b, c = COEFFICIENTS
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    # X <- (a + b G + c G^2) X with G = X X^T. All factors are polynomials of the first G, and so commute: their product
    # is multiplied with X once, at the end, and G is at most as large as X's shorter side.
    gram = wide @ wide.T
    one = torch.eye(len(gram), device=gram.device)
    product = one
    for _ in range(ITERATIONS):
        factor = a * one + b * gram + c * (gram @ gram)
        product = factor @ product
        gram = factor @ gram @ factor
    wide = product @ wide
    return wide if len(matrix) <= matrix.shape[1] else wide.T


class Muon(torch.optim.Optimizer):
    """Muon for convolutions between features, Adam for all else: those that take or give colours, norms, biases.

    Args:
        parameters: of a network, float32.
        lr: learning rate of both.
        betas: of Adam.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, betas: tuple[float, float]) -> None:
        groups: dict[bool, list[Tensor]] = {True: [], False: []}
        for parameter in parameters:
            groups[parameter.ndim == 4 and min(parameter.shape[:2]) > 3].append(parameter)
        super().__init__(
            [{"params": members, "kernels": kernels} for kernels, members in groups.items() if members],
            {"lr": lr, "betas": betas},
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient."""
        for group in self.param_groups:
            members = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["kernels"]:
                self._step_kernels(members, group["lr"])
            else:
                self._step_others(members, group["lr"], *group["betas"])

    def _step_kernels(self, members: list[Tensor], lr: float) -> None:
        for kernel in members:
            assert kernel.grad is not None
            if not self.state[kernel]:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
            momentum = self.state[kernel]["momentum"]
            momentum.lerp_(kernel.grad, 1 - MOMENTUM)
            ahead = kernel.grad.lerp(momentum, MOMENTUM)  # Nesterov's
            step = orthogonalised(ahead.flatten(1))
            kernel.add_(step.reshape(ahead.shape), alpha=-lr * STEP * max(step.shape) ** 0.5)

    def _step_others(self, members: list[Tensor], lr: float, beta1: float, beta2: float) -> None:
        for member in members:
            if not self.state[member]:
                self.state[member].update(
                    step=torch.zeros((), device=member.device),
                    mean=torch.zeros_like(member),
                    square=torch.zeros_like(member),
                )
        states = [self.state[member] for member in members]
        adam(
            members,
            [member.grad for member in members],  # type: ignore[misc]
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
