"""A training's checkpoint: everything that is needed to go on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from detbench.files import write_file
from detbench.gan.recipe import Recipe
from detbench.gan.step import TrainingState
from detbench.types import DetbenchError


def save_checkpoint(out: Path, state: TrainingState, record: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
    """Everything needed to go on as if nothing had happened, replaced atomically."""
    whole = {"players": state.state_dict(), "record": dict(record), "progress": dict(progress)}
    content = io.BytesIO()  # by torch a disk that fails would be a RuntimeError
    torch.save(whole | {"random": torch.get_rng_state()}, content)
    write_file(out / "checkpoint.pt", content.getvalue())


def resume(out: Path, state: TrainingState, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Go back to the checkpoint; None where there is none.

    While L1 trains alone, a checkpoint serves every recipe that differs in nothing but its own losses.

    Raises:
        DetbenchError: it was made by another training.
    """
    path = out / "checkpoint.pt"
    if not path.exists():
        return None
    saved = _read(path)
    was, now = (json.loads(json.dumps(r)) for r in (saved["record"], record))  # in which tuples are lists
    # A field that is younger than the checkpoint had its default then.
    then, planned = (json.loads(json.dumps(dataclasses.asdict(Recipe(**r.pop("recipe"))))) for r in (was, now))
    changed = {key: then.get(key) for key in planned if then.get(key) != planned[key]}
    allowed, skipped = {"iterations"}, {"every"}
    done = saved["progress"]["iteration"]
    alone = [done <= Recipe(**r).shared_iterations for r in (then, planned)]
    if all(alone):  # what has not mattered yet may differ
        allowed |= {"content", "l1_until", "adversarial_from"}
        skipped |= {"deblurer", "perceptual"}
    different = [key for key in now if key not in skipped and was.get(key) != now[key]]
    different += ["recipe"] * (bool(changed.keys() - allowed) or any(alone) != all(alone))
    if different:
        raise DetbenchError(f"{path} was made with another {', '.join(different)}: choose another --out, or remove it.")
    state.load_state_dict(saved["players"])
    torch.set_rng_state(saved["random"])
    progress: dict[str, Any] = saved["progress"]
    if changed:
        progress["changes"].append({"iteration": progress["iteration"], "recipe_was": changed})
    return progress


def planned(out: Path) -> tuple[int, int] | None:
    """What was afforded when the training in a folder began; None if there is none."""
    path = out / "checkpoint.pt"
    if not path.exists():
        return None
    record = _read(path)["record"]
    return int(record["recipe"]["iterations"]), int(record["every"])


def _read(path: Path) -> dict[str, Any]:
    """A checkpoint's numbers and plain data; runs nothing of it."""
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found["record"]
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise DetbenchError(f"{path} is damaged, or no checkpoint ({type(error).__name__}): remove it.") from error
    return found
