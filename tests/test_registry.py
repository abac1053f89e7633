"""Deblurers by name: found without being imported, whole, and from one place only."""

import sys

import pytest
import torch

from detbench import registry
from detbench.testing import check_deblurer
from detbench.types import DetbenchError
from detbench.weights import count_parameters, load_weights, read_record, save_weights

NAMES = sorted(registry.entries())
WEIGHTS = [name for name in NAMES if registry.find(name).weights.exists()]


@pytest.mark.parametrize("name", NAMES)
def test_its_docstring_begins_with_a_line_for_the_listing(name):
    assert 0 < len(registry.find(name).title) < 100


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["family", "paper", "licence"])
def test_listing_states_what_the_spec_says(name, field):
    assert registry.find(name).stated(field) == getattr(registry.get(name), field)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_deblurer(name):
    check_deblurer(registry.get(name))


@pytest.mark.parametrize("name", WEIGHTS)
def test_shipped_weights_fit_and_say_where_they_come_from(name):
    weights = registry.find(name).weights
    assert weights.stat().st_size < 16e6
    deblurer = registry.load(name)
    net = deblurer.build()
    assert all(torch.isfinite(p).all() for p in net.parameters())
    record = read_record(weights)
    assert record["deblurer"] == name
    assert {"recipe", "preset", "images_seen", "data", "wall_seconds", "environment"} <= record.keys()
    assert "bdd" not in {source["folder"] for source in record["data"]}  # of BDD100K, which `street` is of
    assert all(len(source["sha256"]) == 64 for source in record["data"])


def test_all_shipped_weights_together_are_small():
    assert sum(registry.find(name).weights.stat().st_size for name in WEIGHTS) < 150e6


def test_an_unknown_name_gets_the_nearest_ones():
    with pytest.raises(DetbenchError, match=r"no deblurer 'dc205'.*dc250"):
        registry.get("dc205")


class Point:
    """An entry point as ``importlib.metadata`` gives it."""

    def __init__(self, name, module):
        self.name, self.module = name, module
        self.dist = type("Dist", (), {"name": "her-package"})()


def offer(monkeypatch, *points):
    monkeypatch.setattr(registry, "_points", lambda group, _: [p for p in points if group == registry.DEBLURERS.group])


@pytest.fixture
def her_module(tmp_path, monkeypatch):
    """A third party's deblurer in a package of her own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "her_deblurer.py").write_text(
        '"""hers: gives frames back."""\nfrom torch import nn\nfrom detbench.types import DeblurerSpec\n'
        "SPEC = DeblurerSpec(build=nn.Identity)\n"
    )
    yield "her_deblurer"
    sys.modules.pop("her_deblurer", None)


def test_other_packages_offer_deblurers_through_an_entry_point(monkeypatch, her_module):
    offer(monkeypatch, Point("hers", her_module))
    assert registry.entries()["hers"].title == "gives frames back."
    assert her_module not in sys.modules
    assert registry.get("hers").build is torch.nn.Identity


def test_what_is_computed_is_left_out_of_the_listing(monkeypatch, tmp_path, her_module):
    with (tmp_path / "her_deblurer.py").open("a") as file:
        file.write('WHERE = "here"\nSPEC = DeblurerSpec(nn.Identity, paper=WHERE.upper())\n')
    (tmp_path / "her_deblurer.py").write_text(
        (tmp_path / "her_deblurer.py").read_text().replace("SPEC = DeblurerSpec(build=nn.Identity)\n", "")
    )
    offer(monkeypatch, Point("hers", her_module))
    assert registry.find("hers").stated("paper") == ""


def test_two_deblurers_of_one_name_are_refused_naming_both(monkeypatch, her_module):
    offer(monkeypatch, Point("dc250", her_module))
    with pytest.raises(DetbenchError, match=r"dc250.*deblurers.dc250\.py.*her_deblurer\.py of her-package"):
        registry.entries()


def test_errors_in_a_deblurers_file_are_raised(monkeypatch, tmp_path, her_module):
    (tmp_path / "her_deblurer.py").write_text('"""hers: broken."""\nimport a_package_that_is_missing\n')
    offer(monkeypatch, Point("hers", her_module))
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_missing"):
        registry.get("hers")


def test_a_module_without_a_spec_is_named(monkeypatch, tmp_path, her_module):
    (tmp_path / "her_deblurer.py").write_text('"""hers: empty."""\n')
    offer(monkeypatch, Point("hers", her_module))
    with pytest.raises(DetbenchError, match=r"her_deblurer\.py defines no SPEC"):
        registry.get("hers")


def test_a_recipe_without_weights_asks_for_training(monkeypatch, tmp_path, her_module):
    (tmp_path / "her_deblurer.py").write_text(
        '"""hers: untrained."""\nfrom torch import nn\nfrom detbench.types import DeblurerSpec, Preset\n'
        "from detbench.gan.recipe import Recipe\n"
        'SPEC = DeblurerSpec(nn.Identity, presets={"default": Preset(recipe=Recipe({"l1": 1.0}, "bce", {}))})\n'
    )
    offer(monkeypatch, Point("hers", her_module))
    with pytest.raises(DetbenchError, match=r"hers has no trained weights.*detbench train hers"):
        registry.load("hers")


def test_a_changed_source_or_family_is_another_deblurer(monkeypatch, tmp_path):
    package = tmp_path / "her_package"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "_family": "WIDTH = 3\n",
        "stranger": "",
        "hers": "from ._family import WIDTH\n",
    }.items():
        (package / f"{name}.py").write_text(text)
    with (package / "hers.py").open("a") as file:
        file.write("from torch import nn\nfrom detbench.types import DeblurerSpec\nSPEC = DeblurerSpec(nn.Identity)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    offer(monkeypatch, Point("hers", "her_package.hers"))
    first = registry.fingerprint("hers")
    for changed, text, other in [
        ("stranger", "HEIGHT = 4\n", False),
        ("_family", "# A better comment.\n", False),
        ("hers", '"""A better docstring."""\n', False),
        ("_family", "WIDTH = 4\n", True),
        ("hers", "HEIGHT = 4\n", True),
    ]:
        before = (package / f"{changed}.py").read_text()
        (package / f"{changed}.py").write_text(before + text)
        assert (registry.fingerprint("hers") != first) is other, (changed, text)
        (package / f"{changed}.py").write_text(before)
    for name in [name for name in sys.modules if name.startswith("her_package")]:
        del sys.modules[name]


def test_weights_are_part_of_the_fingerprint(tmp_path):
    prints = {registry.fingerprint("dc250")}
    for value in (0.0, 1.0):
        net = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(net.weight, value)
        save_weights(tmp_path / f"{value}.safetensors", net, {"deblurer": "dc250"})
        prints.add(registry.fingerprint("dc250", tmp_path / f"{value}.safetensors"))
    assert len(prints) == 3
    with pytest.raises(DetbenchError, match="missing.safetensors do not exist"):
        registry.fingerprint("dc250", tmp_path / "missing.safetensors")
    with pytest.raises(DetbenchError, match="missing.safetensors do not exist"):
        registry.load("dc250", tmp_path / "missing.safetensors")


def test_the_size_of_a_network_is_told_without_its_published_weights(monkeypatch):
    monkeypatch.setattr("detbench.assets.fetch", lambda name: pytest.fail(f"{name} was fetched"))
    assert registry.load("fastsrn").parameters == registry.load("fastsrn_task").parameters
    assert registry.load("fastsrn_task").parameters == count_parameters(registry.find("fastsrn_task").weights)
    assert registry.load("unsharp").parameters == 0


def test_weights_of_another_deblurer_are_refused(tmp_path):
    save_weights(tmp_path / "w.safetensors", torch.nn.Identity(), {"deblurer": "dc250"})
    with pytest.raises(DetbenchError, match="holds weights of dc250, not of unsharp"):
        registry.load("unsharp", tmp_path / "w.safetensors")


def test_weights_survive_a_round_trip_in_half_precision(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    save_weights(tmp_path / "w.safetensors", net, {"images_seen": 7})
    assert read_record(tmp_path / "w.safetensors") == {"images_seen": 7}
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    load_weights(other, tmp_path / "w.safetensors")
    assert torch.equal(other[0].weight, net[0].weight.half().float())


def test_weights_of_another_shape_name_the_layer(tmp_path):
    save_weights(tmp_path / "w.safetensors", torch.nn.Conv2d(3, 4, 3), {})
    with pytest.raises(DetbenchError, match=r"bias is \(4,\) in the file and \(8,\) in the network"):
        load_weights(torch.nn.Conv2d(3, 8, 3), tmp_path / "w.safetensors")


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_a_damaged_weights_file_is_named(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(DetbenchError, match=r"w\.safetensors"):
        load_weights(torch.nn.Conv2d(3, 8, 3), path)
    with pytest.raises(DetbenchError, match=r"w\.safetensors"):
        read_record(path)


def test_what_runs_as_it_is():
    names = registry.runnable()
    assert {"dc250", "srn", "unsharp"} <= set(names)
    assert not {"identity", "jpeg95"} & set(names)
    for name, entry in registry.entries().items():
        if name not in names and name not in ("identity", "jpeg95"):
            assert not entry.weights.exists()
