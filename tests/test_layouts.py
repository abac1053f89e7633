"""The field's datasets, recognised by their folders: miniature trees of each."""

from dataclasses import replace

import numpy as np
import pytest

from detbench import runner
from detbench.data import datasets, images, layouts
from detbench.types import DetbenchError, RunSpec


def picture(seed, height=48, width=64):
    """Coarse random structure, which survives a blur, and fine, which does not."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(0, 156, (height // 16, width // 16, 3)), np.ones((16, 16, 1)))
    return (coarse + rng.integers(0, 100, (height, width, 1))).astype(np.uint8)


def blur(frame):
    import cv2

    return cv2.GaussianBlur(frame, (0, 0), 2)


def put(root, sharp, blurred, seed=0):
    """One pair of files."""
    images.write_image(root / sharp, picture(seed))
    images.write_image(root / blurred, blur(picture(seed)))


def gopro(root):
    for clip in ("GOPR0384_11_00", "GOPR0410_11_00"):
        for i in (1, 2, 10):
            put(root, f"test/{clip}/sharp/{i:06d}.png", f"test/{clip}/blur/{i:06d}.png")
            images.write_image(root / f"test/{clip}/blur_gamma/{i:06d}.png", blur(picture(1)))
    put(root, "train/GOPR0372_07_00/sharp/000001.png", "train/GOPR0372_07_00/blur/000001.png")


def gopro_gamma(root):
    for clip in ("GOPR0384_11_00", "GOPR0410_11_00"):
        for i in (1, 2, 10):
            put(root, f"{clip}/sharp/{i:06d}.png", f"{clip}/blur_gamma/{i:06d}.png")


def reds(root):
    for sequence in ("000", "001"):
        for i in range(2):
            put(root, f"val/val_sharp/{sequence}/{i:08d}.png", f"val/val_blur/{sequence}/{i:08d}.png")
    put(root, "train/train_sharp/000/0.png", "train/train_blur/000/0.png")


def reds_folders(root):
    for sequence in ("000", "001"):
        for i in range(2):
            put(root, f"sharp/{sequence}/{i:08d}.png", f"blur/{sequence}/{i:08d}.jpg")


def hide(root):
    for i, (part, name) in enumerate((("test-close-ups", "1fromGOPR0950"), ("test-long-shot", "12fromGOPR0950"))):
        put(root, f"GT/{name}.png", f"test/{part}/{name}.png", i)
    put(root, "GT/3fromGOPR1.png", "test/test-close-ups/3fromGOPR1.png")
    put(root, "GT/4fromGOPR2.png", "train/4fromGOPR2.png")


def dvd(root):
    for clip in ("720p_240fps_1", "IMG_0003"):
        for i in range(2):
            put(root, f"quantitative_datasets/{clip}/GT/{i:05d}.jpg", f"quantitative_datasets/{clip}/input/{i:05d}.jpg")


def realblur(root):
    folder, lines = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref", []
    for scene in ("scene001", "scene022"):
        for i in (1, 2):
            names = f"{folder}/{scene}/gt/gt_{i}.png", f"{folder}/{scene}/blur/blur_{i}.png"
            put(root, *names)
            lines.append(f"{names[0]} {names[1]} 0.5\n")
    (root / "RealBlur_J_test_list.txt").write_text("".join(lines))


def kohler(root):
    for image in (1, 2):
        for kernel in (1, 12):
            images.write_image(root / f"Blurry{image}_{kernel}.png", blur(picture(image)))
            for i in (1, 2, 3, 10):
                frame = np.roll(picture(image), i, axis=1)
                images.write_image(root / f"Image{image}/Kernel{kernel}/GroundTruth{image}_{kernel}_{i}.png", frame)


def halves(root):
    for i in range(3):
        sharp = picture(i)
        images.write_image(root / f"scene{i}.png", np.hstack([blur(sharp), sharp]))


TREES = {
    gopro: ("GoPro layout (blurred frames from blur): 2 clips, 6 pairs", "GOPR0384_11_00-000001", "GOPR0384_11_00"),
    gopro_gamma: (
        "GoPro layout (blurred frames from blur_gamma): 2 clips, 6 pairs",
        "GOPR0384_11_00-000001",
        "GOPR0384_11_00",
    ),
    reds: ("REDS layout (val_blur and val_sharp): 2 clips, 4 pairs", "000-00000000", "000"),
    reds_folders: ("pairs layout: 2 clips, 4 pairs", "000-00000000", "000"),
    hide: ("HIDE layout: 2 clips, 3 pairs", "1fromGOPR0950", "GOPR0950"),
    dvd: ("DVD layout: 2 clips, 4 pairs", "720p_240fps_1-00000", "720p_240fps_1"),
    realblur: ("RealBlur layout: 2 clips, 4 pairs", "scene001-blur_1", "scene001"),
    kohler: ("Köhler layout: 2 clips, 4 pairs", "Blurry1_1", "image1"),
    halves: ("DeblurGAN's side by side layout: 3 clips, 3 pairs", "scene0", "scene0"),
}


@pytest.mark.parametrize("tree", TREES)
def test_a_layout_is_recognised(tree, tmp_path, home, capsys):
    tree(tmp_path / "data")
    line, id, clip = TREES[tree]
    found = datasets.load(str(tmp_path / "data"))
    assert capsys.readouterr().err.splitlines()[-1] == line
    first = found.pairs[0]
    assert (first.id, first.clip) == (id, clip)
    for pair in found.pairs:
        sharp, blurred = images.read_image(pair.sharp), images.read_image(pair.blurred)
        assert layouts._edges(sharp) > 1.5 * layouts._edges(blurred)
        assert tree is kohler or np.abs(blur(sharp).astype(int) - blurred).mean() < 8  # of the same scene
    assert datasets.load(str(tmp_path / "data")).identity == found.identity


def test_natural_order_within_a_clip(tmp_path):
    gopro(tmp_path)
    ids = [pair.id for pair in datasets.load(str(tmp_path)).pairs]
    assert ids[:3] == ["GOPR0384_11_00-000001", "GOPR0384_11_00-000002", "GOPR0384_11_00-000010"]


def test_kohlers_best_frame_counts(tmp_path, bright_boxes):
    """Detectors look at the middle frame; PSNR is of the one nearest to what was restored."""
    kohler(tmp_path / "data")
    found = datasets.load(str(tmp_path / "data")).pairs[0]
    assert found.sharp.name == "GroundTruth1_1_2.png"
    assert [path.name for path in found.others] == [f"GroundTruth1_1_{i}.png" for i in (1, 3, 10)]
    images.write_image(found.blurred, images.read_image(found.others[2]))
    spec = RunSpec("identity", dataset=str(tmp_path / "data"), detector="fake", limit=1, device="cpu")
    assert runner.run(spec, tmp_path / "runs").scores[0].psnr_db == np.inf


def lose(path):
    return lambda root: (root / path).unlink()


def rename(path, other):
    return lambda root: (root / path).rename(root / other)


@pytest.mark.parametrize(
    ("tree", "harm", "message"),
    [
        (gopro, rename("test/GOPR0410_11_00/blur", "test/GOPR0410_11_00/b"), None),  # blur_gamma is there
        (
            gopro_gamma,
            rename("GOPR0410_11_00/blur_gamma", "GOPR0410_11_00/b"),
            r"has sharp/ and no blur/ or blur_gamma/",
        ),
        (gopro, lose("test/GOPR0384_11_00/blur/000002.png"), r"no partner of the same name in .*blur: .*000002\.png"),
        (reds, rename("val/val_sharp", "val/sharp"), r"val_blur has no .*val_sharp beside it"),
        (hide, lose("GT/3fromGOPR1.png"), r"no partner of the same name in .*GT: .*3fromGOPR1\.png"),
        (
            dvd,
            rename("quantitative_datasets/IMG_0003/input", "quantitative_datasets/IMG_0003/in"),
            r"no input/: add it",
        ),
        (realblur, rename("RealBlur-J_ECC_IMCORR_centroid_itensity_ref", "J"), r"names 8 files that are not there: "),
        (
            realblur,
            lambda root: (root / "RealBlur_R_test_list.txt").write_text("a b"),
            r"several lists: give one of them",
        ),
        (realblur, lambda root: (root / "RealBlur_J_test_list.txt").write_text("a\n"), r"is no list of pairs"),
        (kohler, rename("Image2/Kernel12", "Image2/Kernel9"), r"Blurry2_12\.png has no sharp frames: unpack them"),
        (hide, reds, r"layouts of REDS and HIDE at once"),
        (reds_folders, gopro_gamma, r"layouts of pairs and GoPro at once"),
    ],
)
def test_half_a_tree_is_refused_by_name(tree, harm, message, tmp_path):
    tree(tmp_path)
    harm(tmp_path)
    if message is None:
        assert len(datasets.load(str(tmp_path)).pairs) == 6
        return
    with pytest.raises(DetbenchError, match=message):
        datasets.load(str(tmp_path))


def test_a_list_may_be_given_itself(tmp_path):
    realblur(tmp_path)
    (tmp_path / "RealBlur_R_test_list.txt").write_text("a b")
    assert len(datasets.load(str(tmp_path / "RealBlur_J_test_list.txt")).pairs) == 4


def test_wide_photographs_are_not_halves(tmp_path):
    for i in range(3):
        images.write_image(tmp_path / f"{i}.png", picture(i, 48, 128))
    with pytest.raises(DetbenchError, match="no frames in a layout that is known"):
        datasets.load(str(tmp_path))


def test_halves_the_wrong_way_round_are_refused(tmp_path):
    for i in range(3):
        images.write_image(tmp_path / f"{i}.png", np.hstack([picture(i), blur(picture(i))]))
    with pytest.raises(DetbenchError, match="the left ones are sharper"):
        datasets.load(str(tmp_path))


def flat(root, *names):
    for name in names:
        put(root, f"sharp/{name}.png", f"blur/{name}.png")


def test_numbered_frames_of_one_name_are_a_clip(tmp_path, capsys):
    photographs = ("photo000000071", "photo000000149", "photo000000257", "photo000000260")  # as COCO's are named
    flat(tmp_path, "drive_8", "drive_9", "drive_10", "walk 001", "walk 003", "house", "7", "8", "lone9", *photographs)
    clips = {pair.id: pair.clip for pair in datasets.load(str(tmp_path)).pairs}
    assert clips == {
        "drive_8": "drive",
        "drive_9": "drive",
        "drive_10": "drive",
        "walk 001": "walk",
        "walk 003": "walk",
        "house": "house",
        "7": "frames",
        "8": "frames",
        "lone9": "lone9",
        **{name: name for name in photographs},
    }
    assert capsys.readouterr().err.startswith(
        "7 numbered frames count as 3 clips (frames..., drive..., walk...); if each"
    )


def test_clips_may_be_told(tmp_path):
    flat(tmp_path, "a1-0", "a1-1", "b2-0")
    found = datasets.load(str(tmp_path), r"(?P<clip>.+)-")
    assert [pair.clip for pair in found.pairs] == ["a1", "a1", "b2"]
    each = datasets.load(str(tmp_path), r"(?P<clip>.+)")
    assert [pair.clip for pair in each.pairs] == ["a1-0", "a1-1", "b2-0"]
    assert each.identity != found.identity  # intervals would differ
    spec = RunSpec("identity", dataset=str(tmp_path), dataset_hash=found.identity)
    assert replace(spec, clips=r"(?P<clip>.+)-").hash8 == spec.hash8  # the dataset's hash says it


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "is no regular expression"), ("(.)", "has no group named clip"), ("(?P<clip>x)", "finds no clip in a")],
)
def test_a_pattern_that_says_no_clip_is_refused(pattern, message, tmp_path):
    flat(tmp_path, "a")
    with pytest.raises(DetbenchError, match=message):
        datasets.load(str(tmp_path), pattern)


def test_a_card_knows_its_clips():
    with pytest.raises(DetbenchError, match="leave out --clips"):
        datasets.load("street", "(?P<clip>.)")
