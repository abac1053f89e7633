"""The house's plan, read off the imports: data flows one way, and what must be fast imports no torch."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import detbench

ROOT = Path(detbench.__file__).parent.parent
EVERYWHERE = {"types", "files", "classes", "counts", "metrics", "lineup", "signature"}
DATA = {f"data.{path.stem}" for path in (ROOT / "detbench" / "data").glob("[a-z]*.py")}
LEAVES = EVERYWHERE | DATA | {"progress", "weights", "environment", "assets", "journal"}
LEAVES |= {"ap", "restore", "restored", "match", "quality", "stats", "store", "thresholds", "tide", "deblur", "kept"}
DETECTORS = {
    "assets",
    "environment",
    "detectors",
    "detectors._description",
    "detectors._fit",
    "detectors.yolo",
    "progress",
}
DETECTORS |= {"environment", "sessions", "weights"}
"""What a kind of detector may import: a new one is one file, and is in no list."""
ALLOWED = {
    "classes": set(),
    "counts": set(),
    "metrics": {"counts", "types"},
    "lineup": {"signature", "types"},
    "signature": {"quality"},
    "types": {"detectors", "gan.recipe"},  # for type annotations
    "files": set(),
    "parse": set(),
    "external": {"sessions"},
    "sessions": set(),
    "source": set(),
    "registry": {"weights", "assets", "external", "restored", "source"},
    "detectors": {"assets", "registry"},
    "custom": {"backends", "external", "registry", "restore"},
    "loop": LEAVES | {"custom", "detectors"},
    "shards": {"journal", "store"},
    "convert": set(),
    "backends": {"assets", "convert", "environment", "progress", "quality", "sessions"},
    "restore": {"backends", "environment"},
    "restorers": {
        "backends",
        "convert",
        "custom",
        "data.datasets",
        "environment",
        "external",
        "registry",
        "restore",
        "quality",
        "restored",
    }
    | {"weights"},
    "resolve": {
        "classes",
        "custom",
        "data.datasets",
        "detectors",
        "environment",
        "files",
        "restored",
        "restorers",
        "types",
    },
    "runner": LEAVES | {"custom", "detectors", "loop", "resolve", "restorers", "shards"},
    "benchmarks": LEAVES | {"lineup", "resolve", "restorers", "runner", "store"},
    "processes": {"data.datasets", "progress", "resolve", "runner", "shards", "store"},
    "cluster": {
        *("assets", "data.datasets", "detectors", "external", "files", "progress"),
        *("loop", "registry", "resolve", "restored", "runner", "shards", "store"),
    },
    "matrix": {"data.datasets", "data.images", "registry", "resolve", "store"},
    "bench": {"data.datasets", "data.images", "detectors", "environment", "match", "quality", "resolve", "restorers"},
    "unreferenced": LEAVES | {"detectors", "resolve", "restorers"},
    "report.unreferenced": {"stats", "unreferenced"},
    "verdict": {"compare", "stats"},
    "best": {"lineup", "report.collect", "restorers", "stats", "verdict"},
    "table": {"stats", "verdict"},
    "compare": {"stats", "store", "thresholds"},
    "check": {"match", "stats", "store", "compare"},
    "baseline": {"stats", "store", "resolve", "runner", "compare", "check"},
    "report.ci": {"baseline", "check"},
    "reference": {"assets", "store", "match"} | DATA,
    "figure": {"table", "match", "data.datasets", "data.images", "data.video", "progress", "report.style", "store"},
    "alternatives": {"data.datasets", "data.images", "quality", "results", "stats", "store", "thresholds"},
    "results": {"benchmarks", "resolve", "runner", "store", "times"},
    "times": {"data.datasets", "detectors", "environment", "progress", "resolve", "restorers", "store"},
    "export": {"convert", "registry", "sessions"},
    "cache": {"assets", "data.cards", "resolve", "store"},
    "report.alternatives": {"alternatives", "stats", "report.formats"},
    "swap": {"compare", "stats", "store", "thresholds"},
    "report.swaps": {"stats", "swap", "report.formats"},
    "features": {"data.images", "gan.detector", "progress", "runner", "stats"},
    "report.features": {"features", "stats", "report.formats"},
    "report.retrained": {"retrained", "report.formats"},
    "report.collect": {"store", "table", "compare"},
    "report.origins": set(),
    "report.conclusions": {"compare", "stats", "data.alignment", "verdict"},
    "report.formats": set(),
    "report.style": {"files"},
    "report.gains": {"best", "report.style", "verdict"},
    "report.roofline": {"bench", "report.style"},
    "report.scatter": {"stats", "report.style"},
    "report.tables": {"compare", "environment", "table", "verdict"}
    | {f"report.{part}" for part in ("breakdown", "collect", "formats")},
    "report.detectors": {"classes", "match", "stats", "store", "table"}
    | {f"report.{part}" for part in ("collect", "conclusions", "formats", "origins", "tables")},
    "report.page": {"data.datasets", "store", "data.images", "match", "report.style"},
    "report.breakdown": {"ap", "match", "thresholds"},
    "report.plots": {"stats", "tide", "report.breakdown", "report.style"},
    "report.document": {"ap", "data.datasets", "environment", "progress", "stats", "store", "thresholds", "tide"}
    | {f"report.{part}" for part in ("breakdown", "collect", "conclusions", "formats", "page", "plots", "scatter")}
    | {"report.gains", "report.style", "report.tables", "verdict"},
    "report.findings": {"alternatives", "claims", "compare", "retrained", "stats", "store", "swap"}
    | {"verdict"}
    | {f"report.{part}" for part in ("breakdown", "collect", "scatter")},
    "report.groups": {"best", "swap"}
    | {f"report.{part}" for part in ("collect", "conclusions", "document", "formats", "gains", "page", "swaps")},
    "published": {"data.cards", "registry", "report.collect", "report.tables"},
    "publish": LEAVES
    | {"registry", "resolve", "figure", "report.claims", "alternatives", "detectors", "detectors.adapted"}
    | {"best", "compare", "features", "published", "report.features", "results", "swap"}
    | {f"report.{part}" for part in ("alternatives", "collect", "conclusions", "detectors", "document", "formats")}
    | {f"report.{part}" for part in ("findings", "gains", "models", "plots", "style", "swaps", "tables")},
    "report.models": LEAVES
    | {"figure", "loop", "registry", "restorers", "table", "verdict"}
    | {f"report.{part}" for part in ("collect", "formats", "plots", "style")},
    "retrained": set(),
    "claims": {"compare", "data.images", "quality", "report.tables", "results", "retrained", "runner", "stats"},
    "report.claims": {"claims", "gan.recipe", "quality", "registry", "results", "retrained", "weights"}
    | {f"report.{part}" for part in ("conclusions", "formats", "origins", "retrained")},
    "gan.recipe": set(),
    "gan.vgg": {"assets", "progress"},
    "gan.losses": {"gan.vgg"},
    "gan.discriminators": set(),
    "gan.initialise": set(),
    "gan.muon": set(),
    "gan.detector": {"assets", "detectors", "detectors.yolo", "journal", "progress", "gan.recipe"},
    "gan.step": {
        f"gan.{part}" for part in ("data", "detector", "discriminators", "initialise", "losses", "muon", "recipe")
    },
    "gan.sources": {"data.datasets", "data.images", "data.pairing", "data.video", "weights"},
    "gan.data": {"data.blur", "quality", "gan.recipe", "gan.sources"},
    "gan.pack": {"gan.sources"},
    "gan.log": {"data.images", "gan.sources"},
    "gan.validate": {"detectors", "match", "quality", "restore"}
    | {f"gan.{part}" for part in ("data", "detector", "recipe", "sources")},
    "gan.prepare": {"weights", "registry"} | {f"gan.{part}" for part in ("detector", "recipe", "sources", "validate")},
    "gan.checkpoint": {"gan.recipe", "gan.step"},
    "gan.training": {"weights", "environment", "progress"}
    | {f"gan.{part}" for part in ("checkpoint", "data", "log", "recipe", "sources", "step", "validate")},
    "gan.train": {"progress"}
    | {f"gan.{part}" for part in ("data", "prepare", "recipe", "sources", "step", "training", "validate", "vgg")},
    "gan.adapt": {"detectors"}
    | {f"gan.{part}" for part in ("data", "detector", "prepare", "recipe", "sources", "step", "training", "tune")}
    | {"gan.validate"},
    "gan.tune": {"counts", "data.images", "progress", "registry", "stats"}
    | {f"gan.{part}" for part in ("data", "recipe", "sources", "train")},
    "gan.retrain": {"claims", "compare", "progress", "registry", "results", "retrained"}
    | {f"gan.{part}" for part in ("recipe", "schedule", "train", "training")},
    "gan.distil": {"progress", "registry", "weights", "gan.data", "gan.sources"},
    "testing": {"assets", "detectors", "restore"}
    | {f"gan.{part}" for part in ("discriminators", "initialise", "losses", "recipe")},
    "gan.schedule": {"progress", "weights", "gan.train"},
}


def imports(path):
    """Names of the project's modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            module = ".".join([*package, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def modules(folder):
    """Files by the names that they are imported by."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in files}


def test_the_harness_imports_one_way():
    folders = {
        "detbench",
        *(f"detbench.{part}" for part in ("cli", "data", "gan", "report")),
    }  # hold nothing themselves
    known = {name: path for name, path in modules("detbench").items() if name not in folders}
    for name, path in known.items():
        short = name.removeprefix("detbench.")
        if short.startswith("cli.") or short in ("__main__", "gan.__main__"):
            continue
        listed = ALLOWED | dict.fromkeys(LEAVES - ALLOWED.keys(), LEAVES)
        allowed = DETECTORS if short.startswith("detectors.") else listed.get(short)
        assert allowed is not None, f"{short} is in no list: say what it may import"
        allowed = EVERYWHERE | allowed
        used = {i.removeprefix("detbench.") for i in imports(path) if i in known}
        assert used <= allowed, f"{short} imports {used - allowed}"


def test_only_the_registry_knows_the_deblurers():
    for name, path in modules("detbench").items():
        assert not any(i.split(".")[0] == "deblurers" for i in imports(path)), name


def test_deblurers_import_nouns_training_and_siblings():
    for name, path in modules("deblurers").items():
        used = {i for i in imports(path) if i.split(".")[0] == "detbench"}
        assert all(i.startswith(("detbench.types", "detbench.gan")) for i in used), (name, used)


@pytest.mark.parametrize("folder", ["datasets", "reports"])
def test_no_python_among_the_data(folder):
    assert not list((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["list", "deblurers"], ["list", "datasets"], ["list", "detectors"]]
)
def test_listing_imports_no_torch(arguments, tmp_path):
    program = (
        "import sys; from detbench.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'ultralytics', 'cv2', 'pandas'} & set(sys.modules), 'imported too much'"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_relative_imports_are_seen(monkeypatch, tmp_path):
    monkeypatch.setattr("test_architecture.ROOT", tmp_path)
    (tmp_path / "detbench" / "gan").mkdir(parents=True)
    path = tmp_path / "detbench" / "gan" / "new.py"
    path.write_text("from ..runner import run\nfrom . import step\n")
    assert {"detbench.runner", "detbench.gan.step"} <= set(imports(path))


def test_the_tree_in_docs_names_every_module():
    tree = (ROOT / "docs" / "architecture.md").read_text()
    for path in (ROOT / "detbench").rglob("*.py"):
        if not path.name.startswith("__") and path.parent.name != "detectors":
            assert re.search(rf"^ +{re.escape(path.name)} +\w", tree, re.M), path.name
