"""Which images are partners, for evaluation and for training alike."""

from pathlib import Path

import pytest

from detbench.data.pairing import Pair, pair_up
from detbench.types import DetbenchError


def files(folder, *names):
    """Empty files below a folder: pairing goes by names alone."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def test_images_are_matched_by_their_path_without_suffix(tmp_path):
    images = files(tmp_path, "blur/1.png", "blur/a/1.png", "sharp/1.jpg", "sharp/a/1.png")
    pairs, others = pair_up(images, tmp_path)
    assert pairs == [Pair("1", images[0], images[2]), Pair("a/1", images[1], images[3])]
    assert others == []


def test_folders_of_pairs_may_lie_below_and_beside_photographs(tmp_path):
    names = [f"train/{clip}/{side}/1.png" for clip in ("one", "two") for side in ("blur", "sharp")]
    images = files(tmp_path, *names, "photo.png", "train/one/photo.png", "sharp/alone.png")
    pairs, others = pair_up(images, tmp_path)
    assert [(pair.name, pair.blurred, pair.sharp) for pair in pairs] == [("1", *images[:2]), ("1", *images[2:4])]
    assert others == images[4:]  # a folder that is called sharp, without a blur beside it, is like any other


def test_the_given_folders_own_name_is_no_side(tmp_path):
    images = files(tmp_path, "sharp/photo.png", "blur/photo.png")
    assert pair_up(images[:1], tmp_path / "sharp") == ([], images[:1])


def test_the_order_is_that_of_the_images(tmp_path):
    images = files(tmp_path, "sharp/2.png", "sharp/10.png", "blur/10.png", "blur/2.png")
    assert [pair.name for pair in pair_up(images, tmp_path)[0]] == ["2", "10"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["blur/1.png", "sharp/2.png"],
            r"1 of the frames has no partner .*sharp: .*blur/1\.png\.",
        ),
        (["blur/1.png", "sharp/1.png", "sharp/1.jpg"], r"1\.jpg and .*1\.png have the same name but for the suffix"),
        ([f"blur/{i}.png" for i in range(6)] + ["sharp/x/y.png"], r"6 of the frames .*4\.png \.\.\.\. Add"),
    ],
)
def test_what_does_not_pair_up_is_named(tmp_path, names, message):
    with pytest.raises(DetbenchError, match=message):
        pair_up(files(tmp_path, *names), tmp_path)


def test_nothing_pairs_with_nothing():
    assert pair_up([], Path("nowhere")) == ([], [])
