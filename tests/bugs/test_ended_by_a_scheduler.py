"""SIGTERM, by which schedulers and containers end a job, left half-made files behind."""

import signal
import subprocess
import sys

PROGRAM = """
import time
from pathlib import Path
from detbench.cli._app import errors, main
from detbench.files import replacing
main()
with errors(), replacing(Path("made.txt")) as partial:
    partial.write_text("half", "utf-8")
    print("begun", flush=True)
    time.sleep(60)
"""


def test_it_cleans_up_as_after_ctrl_c(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert "interrupted" in said
    assert process.returncode == 1  # typer's Exit outside of its app
    assert list(tmp_path.iterdir()) == []
