"""A deblurer that differs from another in its recipe or its network's options."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from detbench.types import DeblurerSpec


def variant(
    base: DeblurerSpec,
    recipe: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    faithful: Mapping[str, Any] | None = None,
) -> DeblurerSpec:
    """A deblurer like another, in all its presets.

    Args:
        base: the other.
        recipe: fields of every preset's recipe that differ. A dictionary is merged into the other's, where None takes
            an entry away.
        options: options of every preset's network that differ.
        faithful: options of the network of the preset ``faithful`` that differ from these.
    """
    presets = {}
    for name, preset in base.presets.items():
        assert preset.recipe
        changes = {key: _merged(getattr(preset.recipe, key), value) for key, value in (recipe or {}).items()}
        special = faithful if name == "faithful" else None
        presets[name] = replace(
            preset,
            recipe=replace(preset.recipe, **changes),
            options={**preset.options, **(options or {}), **(special or {})},
        )
    return replace(base, presets=presets)


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, Mapping):
        return new
    return {key: value for key, value in {**old, **new}.items() if value is not None}
