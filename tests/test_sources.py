"""What to train on: folders of photographs and of pairs, and packs of them."""

import numpy as np
import pytest

from detbench import images
from detbench.gan import pack
from detbench.gan.sources import load_folders
from detbench.types import DetbenchError


def test_pairs_and_photographs_are_told_apart(folder):
    sources = load_folders([folder])
    assert (len(sources.photos), len(sources.pairs)) == (4, 4)
    assert sources.record[0]["files"] == 12
    (folder / "pairs" / "train" / "GOPR01" / "sharp" / "2.png").unlink()
    with pytest.raises(DetbenchError, match=r"no partner of the same name in .*sharp: .*blur/2\.png"):
        load_folders([folder])


def test_a_folder_called_sharp_may_hold_photographs(folder):
    sharp = folder / "pairs" / "train" / "GOPR01" / "sharp"
    assert len(load_folders([sharp]).photos) == 4


def test_pairs_match_by_stem(folder):
    blur = folder / "pairs" / "train" / "GOPR01" / "blur"
    images.write_image(blur / "0.jpg", images.read_image(blur / "0.png"))
    (blur / "0.png").unlink()
    assert len(load_folders([folder / "pairs"]).pairs) == 4


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DetbenchError, match="holds no images"):
        load_folders([tmp_path])


def test_a_pack_gives_back_what_went_in(folder, tmp_path):
    sources = load_folders([folder])
    whole = pack.pack(sources, tmp_path / "whole")
    assert [path.name for path in whole] == ["pack-000.zip"]
    shards = pack.pack(sources, tmp_path / "shards", shard=whole[0].stat().st_size // 2)
    assert len(shards) > 2
    assert all(path.stat().st_size <= whole[0].stat().st_size // 2 for path in shards)
    for packs in (whole, shards):
        back = load_folders(packs)
        assert (len(back.photos), len(back.pairs)) == (4, 4)
        for got, wanted in zip(back.photos, sources.photos, strict=True):
            assert np.abs(got.astype(int) - wanted).mean() < 4
        for got, wanted in zip(back.pairs, sources.pairs, strict=True):
            assert np.abs(got[0].astype(int) - wanted[0]).mean() < 4
            assert np.abs(got[1].astype(int) - wanted[1]).mean() < 4
    assert load_folders(whole).record[0]["folder"] == "pack-000"
    assert load_folders([tmp_path / "shards"]).record == load_folders(shards).record
