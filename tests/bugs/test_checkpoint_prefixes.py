"""Checkpoints whose tensors trainers, compilers or profilers had wrapped were taken for unknown networks."""

import pytest
import torch

from detbench import external

PLAIN = {"conv.weight": torch.ones(2), "conv.bias": torch.zeros(1)}


@pytest.mark.parametrize("prefix", ["net_g.", "_orig_mod.", "module.", "module._orig_mod.", "ema_model.", "netG."])
def test_prefixes_are_taken_off(prefix):
    assert external.plain_state({f"{prefix}{name}": value for name, value in PLAIN.items()}) == PLAIN


@pytest.mark.parametrize("wrapper", ["generator", "params_ema", "state_dict", "ema_model", "model_state_dict"])
def test_wrappers_are_opened(wrapper):
    assert external.plain_state({wrapper: PLAIN, "epoch": 3, "optimizer": {"lr": 1}}) == PLAIN
    assert external.plain_state({"state_dict": {wrapper: PLAIN} if wrapper == "generator" else PLAIN}) == PLAIN


def test_what_profilers_leave_is_dropped():
    counted = {**PLAIN, "total_ops": torch.zeros(1), "conv.total_params": torch.zeros(1)}
    assert external.plain_state(counted) == PLAIN


def test_a_prefix_of_some_is_a_name():
    mixed = {"model.weight": torch.ones(1), "head.weight": torch.ones(1)}
    assert external.plain_state(mixed) == mixed
    assert external.plain_state([1, 2]) == [1, 2]
