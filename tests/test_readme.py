"""What the README says can be typed as it stands there, and what it links to is there."""

import re
import shlex
import shutil

import cv2
import pytest
import typer
from typer.testing import CliRunner

from detbench import cli, published
from detbench.data import images

ROOT = published.REPORTS.parent
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^\|[^|]*\| `detbench ([^`]+)` \|$", README, re.M)


def test_it_is_short():
    assert len(README.split()) <= 900


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page):
    here = ROOT / page
    for target in re.findall(r"\]\(([^)\s]+)\)", here.read_text("utf-8")):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (here.parent / path).resolve() if path else here
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, target


@pytest.fixture
def yours(tmp_path, street, monkeypatch):
    """What the commands name: videos, pairs, frames restored elsewhere, photographs."""
    monkeypatch.chdir(tmp_path)
    for side in ("blur", "sharp"):
        (tmp_path / "my_pairs" / side).mkdir(parents=True)
    for folder in ("my_restored", "my_photos"):
        (tmp_path / folder).mkdir()
    for pair in street.pairs[:2]:
        name = f"{pair.id}.png"
        shutil.copy(pair.sharp, tmp_path / "my_pairs" / "sharp" / name)
        for folder in ("my_pairs/blur", "my_restored"):
            shutil.copy(pair.blurred, tmp_path / folder / name)
    frame = images.read_image(street.pairs[0].blurred)
    frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
    video = cv2.VideoWriter("my_video.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 10, frame.shape[1::-1])
    for _ in range(3):
        video.write(frame[..., ::-1])
    video.release()
    (tmp_path / "my_videos").mkdir()
    shutil.copy("my_video.mp4", "my_videos")


def shown_commands():
    """Every detbench command that README, CONTRIBUTING or docs show, in code spans and blocks, with its page."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        text = page.read_text("utf-8")
        found = re.findall(r"^(?:.*&& )?detbench ([a-z].*?)(?: +#.*)?$", text, re.M)  # in blocks
        found += re.findall(r"`detbench ([a-z][^`]*)`", text)
        yield from ((page.name, command.replace("...", "")) for command in found)


def test_every_command_shown_is_one():
    """Their names, their options and the kinds of their values; what they do has tests of its own."""
    app, seen = typer.main.get_command(cli.app), 0
    for page, shown in shown_commands():
        command, words = app, shlex.split(shown)
        while hasattr(command, "commands") and words:
            command = command.commands.get(words.pop(0))
        assert command is not None, f"{page}: detbench {shown}"
        if hasattr(command, "commands") or "--help" in words:
            continue
        try:
            command.make_context("detbench", words)
        except Exception as error:
            # A command may be shown without what it wants, and where words in capitals stand for numbers.
            lacking = type(error).__name__ == "MissingParameter"
            assert lacking or re.search(r"'[A-Z]+' is not a valid", str(error)), f"{page}: detbench {shown}: {error}"
        seen += 1
    assert seen > 60


@pytest.mark.slow("runs of real deblurers")
def test_every_command_runs_as_printed(yours, monkeypatch):
    """Two trainings, which would take hours, are called and do nothing; the gate has tests of its own."""
    from detbench.gan import adapt, tune

    called = []

    class Enough(Exception):
        pass

    def stop(name):
        def call(*arguments, **options):
            called.append((name, options.get("budget")))
            raise Enough

        return call

    monkeypatch.setattr(tune, "tune", stop("tune"))
    monkeypatch.setattr(adapt, "adapt", stop("adapt"))
    assert len(COMMANDS) >= 10
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] == "check":
            assert CliRunner().invoke(cli.app, [*words, "--help"]).exit_code == 0
            continue
        done = CliRunner().invoke(cli.app, words)
        if words[0] in ("tune", "adapt"):
            assert isinstance(done.exception, Enough), (command, done.output)
        else:
            assert done.exit_code == 0, (command, done.output)
    assert called == [("tune", 7200.0), ("adapt", 7200.0)]


@pytest.mark.slow("runs of real deblurers")
def test_the_quick_start_runs_from_top_to_bottom(yours):
    text = (ROOT / "docs" / "quick-start.md").read_text("utf-8")
    commands = re.findall(r"^detbench (.*)$", text, re.M)
    assert len(commands) >= 7
    for command in commands:
        done = CliRunner().invoke(cli.app, shlex.split(command))
        assert done.exit_code == 0, (command, done.output)
