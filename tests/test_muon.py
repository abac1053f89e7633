"""The optimizer Muon: against singular values, and against torch's."""

import pytest
import torch
from torch import nn

from detbench.gan.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(24, 150), (150, 24), (24, 24)])
def test_all_singular_values_come_near_one_and_directions_stay(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) + 5 * torch.randn(shape[0], 1) * torch.randn(1, shape[1])  # one direction outweighs
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    assert values[0] > 10 * values[1]
    made = left.T @ orthogonalised(matrix) @ right.T
    assert made.diagonal()[values > values[0] / 100].min() > 0.6
    assert made.diagonal().max() < 1.3
    assert (made - made.diagonal().diag()).abs().max() < 1e-2


def test_of_no_gradient_comes_no_step():
    assert not orthogonalised(torch.zeros(4, 9)).any()


def test_a_kernel_moves_as_torchs_muon_moves_it_as_a_matrix():
    if not hasattr(torch.optim, "Muon"):  # from torch 2.9 on
        pytest.skip("this torch has no Muon")
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(16, 8, 3, 3))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    before = kernel.detach().clone()
    ours = Muon([kernel], lr=1e-3, betas=(0.9, 0.999))
    theirs = torch.optim.Muon([matrix], lr=2e-3, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        kernel.grad = torch.randn_like(kernel)
        matrix.grad = kernel.grad.flatten(1).clone()
        ours.step()
        theirs.step()
    moved, reference = (kernel - before).flatten(), (matrix - before.flatten(1)).flatten()
    assert torch.dot(moved, reference) > 0.99 * moved.norm() * reference.norm()
    assert moved.norm().item() == pytest.approx(reference.norm().item(), rel=0.03)


def test_what_is_no_kernel_between_features_moves_as_adam_moves_it():
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 3)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    frames = torch.rand(2, 3, 8, 8)
    for net, optimizer in zip(nets, (Muon, torch.optim.Adam), strict=True):
        step = optimizer(net.parameters(), lr=1e-3, betas=(0.9, 0.999))
        for _ in range(3):
            step.zero_grad()
            net(frames).square().mean().backward()
            step.step()
    for ours, adams in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(ours, adams)
