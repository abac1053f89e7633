"""Kinds of detectors: found without being imported, named from one place, and known to runs by what they compute."""

import sys

import numpy as np
import pytest

from detbench import assets, detectors, source
from detbench.cli import app
from detbench.detectors import KINDS
from detbench.files import file_hash
from detbench.testing import check_detector
from detbench.types import DetbenchError

BLOBS = '''"""blobs: finds nothing."""
from detbench.types import Detections, DetectorSpec

class Blobs:
    class_names = {0: "blob"}
    def __init__(self, weights, *, conf, nms_iou, imgsz, device):
        self.weights = weights
    def __call__(self, frames):
        return [Detections.empty() for frame in frames]

SPEC = DetectorSpec(build=Blobs, stride=8)
'''


@pytest.fixture
def offer(install):
    """Write a module and offer it as a kind of detector."""
    return lambda name, text=BLOBS: install("detbench.detectors", name, text)


def build(name, imgsz=64):
    return detectors.resolve(name).build(conf=0.25, nms_iou=0.7, imgsz=imgsz, device="cpu")


def test_yolo_is_a_detector(traffic):
    """The other kinds' weights are made by the tests of their own."""
    check_detector(KINDS.get("yolo"), frames=traffic)


@pytest.mark.parametrize("kind", sorted(KINDS.entries()))
def test_listing_states_what_the_spec_says(kind):
    entry, spec = KINDS.find(kind), KINDS.get(kind)
    assert 0 < len(entry.title) < 100
    assert entry.stated("assets") == spec.assets
    assert {name for name, owner in detectors.named().items() if owner == entry} == set(spec.assets)
    assert spec.form == entry.stated("form") != ""


@pytest.mark.parametrize("name", sorted(name for kind in KINDS.entries() for name in KINDS.get(kind).assets))
def test_a_pinned_detectors_licence_is_its_assets(name):
    asset, spec = assets.find(name), KINDS.get(next(kind for kind in KINDS.entries() if name in KINDS.get(kind).assets))
    if spec.of:  # which reads the file
        if not (assets.home() / "assets" / asset.filename).is_file():
            pytest.skip(f"{asset.filename} is not in {assets.home() / 'assets'}")
        spec = spec.of(name)
    assert asset.licence == spec.licence


def test_the_pinned_yolos_keep_the_catalogues_order():
    pinned = KINDS.get("yolo").assets
    assert pinned == ("yolo26n", "yolo26m", "yolo11n", "yolov8n", "yolov8s")
    assert [name for name in assets.catalogue() if name in pinned] == list(pinned)


def test_stored_runs_know_a_yolo_by_its_weights_alone():
    assert detectors.resolve("yolo26n").sha256 == assets.find("yolo26n").sha256


def test_other_packages_offer_detectors_through_an_entry_point(offer, capsys):
    offer("blobs")
    assert detectors.names()[-1] == "blobs"
    with pytest.raises(SystemExit):
        app(["list", "detectors"])
    listed = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert listed["blobs"] == ["finds", "nothing.", "AGPL-3.0-or-later"]
    assert listed["yolox_nano"][-2:] == ["Apache-2.0", "(Megvii)"]
    assert listed["torchvision:NAME"][-2:] == ["BSD-3-Clause", "(torchvision)"]
    assert "her_blobs" not in sys.modules
    detector = build("blobs")
    assert detector.class_names == {0: "blob"}
    assert detector.weights is None
    assert len(detector([np.zeros((8, 8, 3), np.uint8)])[0]) == 0


def test_a_changed_source_is_another_detector_with_other_detections(offer):
    file = offer("blobs")
    first = detectors.resolve("blobs")
    file.write_text(BLOBS.replace("finds nothing", "finds nothing at all"))
    assert detectors.resolve("blobs") == first
    file.write_text(BLOBS + "LEAST = 4\n")
    changed = detectors.resolve("blobs")
    assert changed.sha256 != first.sha256
    assert changed.source != first.source


def test_weights_are_the_users_or_lie_beside_the_file(offer, tmp_path):
    offer("blobs")
    mine, theirs = tmp_path / "mine.npz", tmp_path / "weights" / "blobs.safetensors"
    theirs.parent.mkdir()
    mine.write_bytes(b"mine")
    bare = detectors.resolve("blobs")
    theirs.write_bytes(b"theirs")
    chosen = [detectors.resolve(name) for name in ("blobs", f"blobs:{mine}", "blobs:mine.npz")]
    assert [each.weights for each in chosen] == [theirs, mine, mine]
    assert chosen[1].sha256 == chosen[2].sha256
    assert len({bare.sha256, chosen[0].sha256, chosen[1].sha256, file_hash(mine)}) == 4
    assert build("blobs:mine.npz").weights == mine
    with pytest.raises(DetbenchError, match=r"The weights .*missing\.npz do not exist"):
        detectors.resolve("blobs:missing.npz")


def test_a_kind_may_find_its_weights_in_its_own_way(offer, tmp_path):
    (tmp_path / "large").write_bytes(b"weights")
    text = BLOBS.replace("stride=8", f"stride=8, find=lambda name: __import__('pathlib').Path({str(tmp_path)!r}, name)")
    offer("blobs", text.replace("stride=8", "hash_source=False"))
    found = detectors.resolve("blobs:large")
    assert found.weights == tmp_path / "large"
    assert found.sha256 == file_hash(tmp_path / "large")


def test_a_misspelt_kind_gets_the_nearest_names(offer):
    offer("blobs")
    with pytest.raises(DetbenchError, match="Did you mean blobs"):
        detectors.resolve("blosb")
    with pytest.raises(DetbenchError, match=r"no detector 'yol'. Did you mean yolo"):
        KINDS.get("yol")


def test_two_kinds_of_one_name_are_refused_naming_both(offer):
    offer("yolo")
    with pytest.raises(
        DetbenchError, match=r"Two detectors are called yolo: .*yolo\.py and .*her_yolo\.py of her-pack"
    ):
        detectors.resolve("yolo26n")


def test_two_kinds_that_offer_one_detector_are_refused_naming_both(offer):
    offer("yolo26n")
    with pytest.raises(DetbenchError, match=r"offer a detector yolo26n: .*yolo\.py and .*her_yolo26n\.py"):
        detectors.names()


def test_a_module_without_a_spec_is_named(offer):
    offer("blobs", '"""blobs: empty."""\n')
    with pytest.raises(DetbenchError, match=r"her_blobs\.py defines no SPEC = DetectorSpec"):
        detectors.resolve("blobs")


def test_imgsz_must_suit_the_stride(offer):
    offer("blobs")
    with pytest.raises(DetbenchError, match="imgsz is 60: blobs takes multiples of 8, such as 64"):
        build("blobs", imgsz=60)


@pytest.mark.parametrize("imported", ["from her_helper import LEAST", "import her_helper"])
def test_what_a_module_imports_from_beside_it_counts_too(offer, imported):
    file = offer("blobs", f"{BLOBS}{imported}\n")
    file.with_name("her_helper.py").write_text("LEAST = 4\n")
    first = detectors.resolve("blobs")
    file.with_name("her_helper.py").write_text("LEAST = 5\n")
    assert detectors.resolve("blobs").sha256 != first.sha256


def test_modules_of_a_package_import_each_other_in_three_ways(tmp_path):
    package = tmp_path / "her"
    package.mkdir()
    for name in ("one", "two", "three", "four"):
        (package / f"{name}.py").write_text(f"NAME = {name!r}\n")
    (package / "main.py").write_text(
        "from her import one\nfrom her.two import NAME\nimport her.three\nfrom . import four\nfrom other.one import x\n"
    )
    assert len(source.hashes(package / "main.py")) == 5
    (package / "main.py").write_text("from elsewhere.one import x\nimport elsewhere.two\n")
    assert len(source.hashes(package / "main.py")) == 1
