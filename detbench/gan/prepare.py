"""What a training starts from: its recipe, devices, first weights, and the frozen networks that it learns from."""

from __future__ import annotations

import atexit
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import nn

from detbench.files import file_hash
from detbench.gan.recipe import Recipe
from detbench.gan.sources import Sources
from detbench.types import DeblurerSpec, DetbenchError
from detbench.weights import load_weights, read_tensors

if TYPE_CHECKING:
    from detbench.gan.detector import FrozenDetector


def recipe_of(name: str, spec: DeblurerSpec, preset: str, recipe: Recipe | None, iterations: int | None) -> Recipe:
    """The given recipe, or a preset's.

    Raises:
        DetbenchError: there is none, or it does not fit the network.
    """
    if preset not in spec.presets:
        raise DetbenchError(f"{name} has no preset {preset!r}: choose {' or '.join(spec.presets)}.")
    recipe = recipe or spec.presets[preset].recipe
    if recipe is None:
        raise DetbenchError(f"{name} has no recipe: there is nothing to train.")
    if recipe.crop % spec.presets[preset].multiple_of:
        raise DetbenchError(
            f"{name}'s crops of {recipe.crop} px are no multiple of {spec.presets[preset].multiple_of}."
        )
    return dataclasses.replace(recipe, iterations=iterations or recipe.iterations)


def frozen_detectors(recipe: Recipe, sources: Sources, fabric: Fabric) -> list[FrozenDetector]:
    """The recipe's frozen detectors; where crops are cut around objects, the sources learn where these are.

    Raises:
        DetbenchError: there is no such detector, or the first finds no object in any sharp picture.
    """
    if not recipe.detector:
        return []
    from detbench.gan.detector import FrozenDetector, find_objects
    from detbench.gan.validate import IMGSZ

    threads = torch.get_num_threads()
    detectors = [FrozenDetector(name, fabric.device) for name in recipe.detector]
    if recipe.object_crops:
        pictures = [*sources.photos, *(sharp for _, sharp in sources.pairs)]
        found = find_objects(pictures, recipe.detector[0], recipe.detector_imgsz or IMGSZ, fabric.device)
        if not any(map(len, found)):
            raise DetbenchError(
                f"{recipe.detector[0]} finds no object in any of {len(pictures)} pictures: give --data with objects"
                " that it knows."
            )
        sources.photo_objects, sources.pair_objects = found[: len(sources.photos)], found[len(sources.photos) :]
    torch.set_num_threads(threads)  # ultralytics leaves one
    return detectors


def load_first(net: nn.Module, recipe: Recipe) -> dict[str, str] | None:
    """Load the first weights that a recipe takes from elsewhere; says from where and which.

    Raises:
        DetbenchError: there are none of that name, or they are of another network.
    """
    if recipe.init_from is None:
        return None
    path = Path(recipe.init_from)
    adopt = getattr(net, "adopt", None)  # a network that can begin with another one's weights says how
    if path.suffix == ".safetensors":
        if adopt:
            adopt({name: tensor.float() for name, tensor in read_tensors(path).items()})
        else:
            load_weights(net, path)
        return {"from": path.name, "sha256": file_hash(path)}
    from detbench import registry

    adopt = adopt or net.load_state_dict
    try:
        adopt(registry.load(recipe.init_from).build().state_dict())
    except RuntimeError as error:
        raise DetbenchError(f"The weights of {recipe.init_from} are of another network.") from error
    return {"from": recipe.init_from, "sha256": registry.fingerprint(recipe.init_from)}


def teacher_of(recipe: Recipe, fabric: Fabric) -> nn.Module | None:
    """The deblurer that a recipe learns from, with its weights, frozen, in [-1, 1]."""
    if recipe.teacher is None:
        return None
    from detbench import registry

    deblurer = registry.load(recipe.teacher)
    net = between_minus_one_and_one(deblurer.build(), deblurer.spec.value_range)
    return net.requires_grad_(False).eval().to(fabric.device).to(memory_format=torch.channels_last)


def between_minus_one_and_one(net: nn.Module, value_range: tuple[float, float]) -> nn.Module:
    """Make a network of another range take and give [-1, 1], by hooks, so that its weights keep their names."""
    black, white = value_range
    middle, half = (white + black) / 2, (white - black) / 2
    if (middle, half) == (0.0, 1.0):
        return net

    def back(output: Any) -> Any:
        return tuple(map(back, output)) if isinstance(output, tuple) else (output - middle) / half

    net.register_forward_pre_hook(lambda _, inputs: tuple(x * half + middle for x in inputs))
    net.register_forward_hook(lambda _, inputs, output: back(output))
    return net


def fabric_on(device: str) -> Fabric:
    """Fabric for this machine, in bfloat16 mixed precision where that is fast; several devices under torchrun."""
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or not (number or "0").isdigit():
        raise DetbenchError(f"Device {device!r} is not known: choose auto, cpu, cuda, cuda:N or mps.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DetbenchError(f"Device {device!r} cannot be used here (torch finds no CUDA): try --device cpu.")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    strategy: Any = "auto"
    if world > 1:
        strategy = DDPStrategy(broadcast_buffers=False)
        atexit.register(_leave)
    on_gpu = kind in ("auto", "cuda") and torch.cuda.is_available()
    return Fabric(
        accelerator={"cuda": "gpu"}.get(kind, kind),
        devices=[int(number)] if number else int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=world // int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        strategy=strategy,
        precision="bf16-mixed" if on_gpu or _cpu_has_bf16() else "32-true",
    )


def _leave() -> None:
    """Leave the group of processes: one that ends within it is sometimes aborted by its threads."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def precision_of(fabric: Fabric) -> Literal["fp32", "bf16"]:
    """What Fabric computes in, by the name that a restorer gives it."""
    return "bf16" if fabric.strategy.precision.precision == "bf16-mixed" else "fp32"


def _cpu_has_bf16() -> bool:
    """Whether this CPU multiplies in bfloat16; one that emulates it takes ten times as long as in float32."""
    can: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not tell
    return any(can.get(unit, False) for unit in ("avx512_bf16", "amx_bf16", "bf16"))
