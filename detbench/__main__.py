"""``python -m detbench``."""

from detbench.cli import app

app()
