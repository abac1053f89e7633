"""Devices: which one ``auto`` stands for, which there are, and that what runs on one is waited for."""

import pytest
import torch

from detbench import environment
from detbench.types import DetbenchError


@pytest.fixture
def machine(monkeypatch):
    """A machine with certain GPUs, by the answers that torch gives there."""

    def have(*kinds):
        monkeypatch.setattr(environment, "_has_driver", lambda: bool(kinds))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in kinds)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in kinds)
        waited = []
        monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
        monkeypatch.setattr(torch.cuda, "synchronize", waited.append)

        def empty(size, device):
            if device != "cpu" and device.partition(":")[0] not in kinds:
                raise RuntimeError(f"no {device} here\nand more")

        monkeypatch.setattr(torch, "empty", empty)
        return waited

    return have


@pytest.mark.parametrize(("kinds", "found"), [((), "cpu"), (("cuda",), "cuda"), (("mps",), "mps")])
def test_auto(machine, kinds, found):
    machine(*kinds)
    assert environment.device("auto") == found
    assert environment.device("cpu") == "cpu"


def test_what_is_not_there(machine):
    machine("mps")
    assert environment.device("mps") == "mps"
    with pytest.raises(DetbenchError, match=r"cuda:1. cannot be used here \(no cuda:1 here\): try --device cpu"):
        environment.device("cuda:1")
    with pytest.raises(DetbenchError, match="'tpu' is not known: choose auto, cpu, cuda, cuda:N or mps"):
        environment.device("tpu")


def test_each_kind_is_waited_for_in_its_way(machine):
    waited = machine("cuda", "mps")
    for device in ("cpu", "cuda:1", "mps", torch.device("mps")):
        environment.synchronize(device)
    assert waited == ["cuda:1", "mps", "mps"]
