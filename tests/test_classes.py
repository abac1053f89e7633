"""Classes by name: COCO's 80 and its 91 ids, and what VOC, BDD100K and Open Images call them."""

import pytest

from detbench import classes
from detbench.resolve import labels
from detbench.types import DetbenchError, RunSpec


def test_the_ninety_one_ids_are_the_eighty_classes_with_gaps():
    eighty, ninety_one = classes.named("coco"), classes.named("coco91")
    used = [name for name in ninety_one.values() if name != classes.UNUSED]
    assert list(eighty.values()) == used
    assert (ninety_one[1], ninety_one[13], ninety_one[90], len(ninety_one)) == ("person", "stop sign", "toothbrush", 91)


@pytest.mark.parametrize(
    ("elsewhere", "name"),
    [
        ("tvmonitor", "tv"),
        ("Motorbike", "motorcycle"),
        ("cell_phone", "cell phone"),
        ("Mobile phone", "cell phone"),
        ("pedestrian", "person"),
        ("rider", "person"),
        ("traffic sign", "traffic sign"),
    ],
)
def test_names_of_other_datasets(elsewhere, name):
    assert classes.canonical(elsewhere) == name


@pytest.mark.parametrize("which", ["voc", "bdd"])
def test_all_classes_of_voc_and_bdd_but_traffic_signs_are_cocos(which):
    coco = set(classes.named("coco").values())
    unknown = {name for name in classes.named(which).values() if classes.canonical(name) not in coco}
    assert unknown == ({"traffic sign"} if which == "bdd" else set())


def test_every_synonym_means_one_class_of_coco():
    coco, data = set(classes.named("coco").values()), classes._data()["synonyms"]
    others = [other for its in data.values() for other in its]
    assert set(data) <= coco
    assert len(others) == len(set(others))
    assert coco.isdisjoint(others)


def test_a_name_of_the_detectors_own_comes_before_what_means_the_same():
    own = {0: "man", 1: "woman", 2: "Car", 3: classes.UNUSED}
    found = classes.labels(["man", "person", "car", "van", "tree", classes.UNUSED], own)
    assert found == {"man": [0], "person": [0, 1], "car": [2], "van": [2], "tree": [], classes.UNUSED: []}


def test_classes_of_a_run_are_found_by_their_names_elsewhere():
    spec = RunSpec("identity", classes=("pedestrian", "tvmonitor"))
    assert labels(spec, classes.named("coco91")) == {1, 72}
    with pytest.raises(DetbenchError, match="no class 'N/A'"):
        labels(RunSpec("identity", classes=("N/A",)), classes.named("coco91"))
