"""Text was written in the locale's encoding, and read in another; a terminal of few letters ended a run."""

import os
import subprocess
import sys
from pathlib import Path

import detbench

ROOT = Path(detbench.__file__).parent.parent


def test_every_text_file_names_its_encoding():
    command = [
        "ruff",
        "check",
        "--preview",
        "--select",
        "PLW1514",
        "--output-format",
        "concise",
        "detbench",
        "deblurers",
    ]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_terminal_of_few_letters_is_written_to(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "detbench", "list", "detectors"], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    shout = "from detbench.cli import _app\n_app.main()\nprint('\\u2020 \\u00b1 \\udce9')"
    done = subprocess.run([sys.executable, "-c", shout], capture_output=True, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, b"? ? ?"), done.stderr
