"""Which images are partners: a blurred and a sharp one of the same name, in folders ``blur/`` and ``sharp/``."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from detbench.data.images import list_images, parts_below
from detbench.files import readable
from detbench.types import DetbenchError

OTHER = {"blur": "sharp", "sharp": "blur"}
"""The two sides of a pair, by the names of their folders."""


@dataclass(frozen=True)
class Pair:
    """Two images of one frame.

    Attributes:
        name: path below ``blur/`` and ``sharp/`` without suffix, with ``/`` between its parts.
        blurred: the one in ``blur/``.
        sharp: the one in ``sharp/``.
    """

    name: str
    blurred: Path
    sharp: Path


def pair_up(images: Iterable[Path], folder: Path) -> tuple[list[Pair], list[Path]]:
    """Find the pairs among images.

    A folder that holds both ``blur/`` and ``sharp/`` is a folder of pairs, be it the given one or one below it (as in
    GoPro's layout); images are matched by their path below the two, whatever their suffix.

    Args:
        images: files below the folder. Pairs come in the order of the first image of each.
        folder: where all of them lie.

    Returns:
        The pairs, and the images that are in no folder of pairs.

    Raises:
        DetbenchError: images without a partner, or two of one name but for the suffix; the message names them.
    """
    found, others = dict[tuple[Path, str], dict[str, Path]](), list[Path]()
    for path in images:
        side = _side(path, folder)
        if side is None:
            others.append(path)
            continue
        pair = found.setdefault((side.parent, _key(path, side)), {})
        if side.name in pair:
            raise _same_name(path, pair[side.name])
        pair[side.name] = path
    _refuse_unpaired(found)
    pairs = [
        Pair(_name(pair["sharp"], root / "sharp"), pair["blur"], pair["sharp"]) for (root, _), pair in found.items()
    ]
    return pairs, others


def pair_folders(blurred: Path, sharp: Path) -> list[Pair]:
    """Match the images of two folders, and of folders below these, by their path there, whatever their suffix.

    Args:
        blurred: a folder.
        sharp: another.

    Returns:
        Pairs in the order of the blurred images.

    Raises:
        DetbenchError: as for :func:`pair_up`; or a folder holds no images.
    """
    sides = []
    for folder in (blurred, sharp):
        names: dict[str, Path] = {}
        for path in list_images(folder, recursive=True):
            if (key := _key(path, folder)) in names:
                raise _same_name(path, names[key])
            names[key] = path
        sides.append(names)
    for (mine, its), other in zip((sides, sides[::-1]), (sharp, blurred), strict=True):
        refuse_lonely([path for key, path in mine.items() if key not in its], other)
    return [Pair(_name(sides[1][key], sharp), path, sides[1][key]) for key, path in sides[0].items()]


SIDES = frozenset({"blur", "blurred", "blur_gamma", "sharp", "input", "target", "restored", "frames"})
"""Names of folders that say what of a frame lies there, and not which frame it is."""


def ids_of(names: Sequence[str], ids: Iterable[str]) -> list[str | None]:
    """The frame that each of some files is of, by name.

    Args:
        names: paths below a folder, with ``/`` between their parts.
        ids: of the frames.

    Returns:
        For each path the frame whose id it is, without suffix and with ``-`` between its parts, those in :data:`SIDES`
        left out; or, where that is none, the one whose id is the file's name alone, if no other has the same; or None.
    """
    wanted = {unicodedata.normalize("NFC", id): id for id in ids}
    paths = [PurePosixPath(unicodedata.normalize("NFC", name)) for name in names]
    stems, found = Counter(path.stem for path in paths), list[str | None]()
    for path in paths:
        folders = [part for part in path.parent.parts if part not in SIDES and part != "/"]
        alone = [path.stem] if stems[path.stem] == 1 else []
        # Names may lack a suffix, and have a point all the same.
        tried = ["-".join([*folders, path.stem]), "-".join([*folders, path.name]), *alone, path.name]
        found.append(next((wanted[name] for name in tried if name in wanted), None))
    return found


def refuse_lonely(paths: Sequence[Path], other: Path) -> None:
    """Stop if images have no partner in another folder, naming five of them."""
    if paths:
        have = "has" if len(paths) == 1 else "have"
        raise DetbenchError(
            f"{len(paths)} of the frames {have} no partner of the same name in {other}: {some(paths)}. Add the partners"
            " or remove these."
        )


def some(names: Sequence[Path | str]) -> str:
    """Five of some names, for a message."""
    return ", ".join(map(str, names[:5])) + (" ..." if len(names) > 5 else "")


def _name(path: Path, folder: Path) -> str:
    """A path below a folder without its suffix."""
    *folders, name = parts_below(path, folder)
    return "/".join([*folders, name.removesuffix(path.suffix)])


def _key(path: Path, folder: Path) -> str:
    """What partners have in common: letters with accents may be written composed (NFC) or decomposed (NFD)."""
    return unicodedata.normalize("NFC", readable(_name(path, folder)))


def _same_name(path: Path, other: Path) -> DetbenchError:
    return DetbenchError(f"{path} and {other} have the same name but for the suffix: rename or remove one.")


def _side(path: Path, folder: Path) -> Path | None:
    """The ``blur/`` or ``sharp/`` below a folder that an image lies in, if the other lies beside it."""
    for parent in path.parents:
        if parent == folder:
            return None
        if parent.name in OTHER and (parent.parent / OTHER[parent.name]).is_dir():
            return parent
    return None


def _refuse_unpaired(found: Mapping[tuple[Path, str], Mapping[str, Path]]) -> None:
    """Stop if an image has no partner, naming those that miss one in the same folder."""
    lonely: dict[Path, list[Path]] = {}
    for (root, _), pair in found.items():
        if len(pair) < 2:
            ((side, path),) = pair.items()
            lonely.setdefault(root / OTHER[side], []).append(path)
    for missing, paths in lonely.items():
        refuse_lonely(paths, missing)
