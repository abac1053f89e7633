"""The videos of `street` and `street1` are decoded to the very pixels of the decoder that came before (OpenCV's)."""

import hashlib

import pytest

from detbench import assets
from detbench.data.video import Reader

DECODED = {
    "motorway-video": "5d0c3c59c9d8ce7c6e75bfcbb15f69dadbacc88d90edbb8529c495d847a71593",
}
"""SHA-256 of the first 120 frames' bytes, as OpenCV 5.0 decoded them."""


@pytest.mark.parametrize("name", DECODED)
def test_they_are_what_they_were(name):
    digest = hashlib.sha256()
    for number, frame in enumerate(Reader(assets.fetch(name))):
        if number == 120:
            break
        digest.update(frame.tobytes())
    assert digest.hexdigest() == DECODED[name]
