"""What to train on: folders of photographs and of pairs, and packs of them."""

import zipfile

import numpy as np
import pytest
from training import grey, places

from detbench.data import images
from detbench.gan import pack
from detbench.gan.sources import Sources, load_folders, load_training, split
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


def write(folder, names, start=0):
    for i, name in enumerate(names, start):
        images.write_image(folder / name, np.full((16, 16, 3), i, np.uint8))


def test_whole_clips_are_held_out(tmp_path):
    for clip in range(10):
        sides = ["sharp", "blur"] if clip % 3 == 2 else ["frames"]  # real pairs, and photographs
        for side in sides:
            write(tmp_path / f"clip{clip}" / side, [f"{i}.png" for i in range(3)], 10 * clip)
    train, held_out = load_training([tmp_path], None)
    assert (len(train.photos), len(train.pairs)) == (6 * 3, 2 * 3)
    assert grey(held_out) == [0, 1, 2, 80, 81, 82]
    assert len(grey(train)) + len(grey(held_out)) == 30
    assert not {level // 10 for level in grey(train)} & {level // 10 for level in grey(held_out)}
    both = train.photo_clips + train.pair_clips
    assert not set(both) & {*held_out.photo_clips, *held_out.pair_clips}
    assert len(train.photo_clips) == len(train.photos)
    given = load_training([tmp_path / "clip0"], [tmp_path / "clip2"])
    assert [grey(each) for each in given] == [[0, 1, 2], [20, 21, 22]]


def test_files_without_clips_are_clips_of_their_own(tmp_path):
    write(tmp_path, [f"{i:02d}.png" for i in range(17)])
    train, held_out = load_training([tmp_path], None)
    assert grey(held_out) == [0, 8, 16]
    assert grey(train) == [i for i in range(17) if i % 8]


def test_of_a_single_clip_the_end_is_held_out_and_its_neighbours_left_out(tmp_path):
    write(tmp_path / "clip", [f"{i:02d}.png" for i in range(32)])
    train, held_out = load_training([tmp_path], None)
    assert grey(held_out) == [28, 29, 30, 31]
    assert grey(train) == list(range(26))
    for count, kept in ((10, 8), (3, 1), (2, 1)):  # one is left out wherever there are three
        few = Sources([places(8, 8 + i) for i in range(count)], photo_clips=["a"] * count)
        train, held_out = split(few)
        assert (len(train.photos), [p.shape[1] for p in held_out.photos]) == (kept, [8 + count - 1])
    with pytest.raises(DetbenchError, match="One picture cannot both"):
        split(Sources([places()], photo_clips=["a"]))


def test_a_video_is_a_clip(tmp_path, monkeypatch):
    import cv2

    writer = cv2.VideoWriter(str(tmp_path / "drive.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    for i in range(30):
        writer.write(np.full((48, 64, 3), (0, 0, 8 * i), np.uint8))  # ever redder
    writer.release()
    monkeypatch.setattr("detbench.gan.sources.VIDEO_FRAMES", 10)
    sources = load_folders([tmp_path / "drive.avi"])
    assert sources.photo_clips == ["drive"] * 10
    assert [frame.shape for frame in sources.photos] == [(48, 64, 3)] * 10
    reds = [float(frame[..., 0].mean()) for frame in sources.photos]
    assert reds == pytest.approx(np.linspace(0, 8 * 29, 10).tolist(), abs=12)  # to the frame, and to MJPEG
    assert all(frame[..., 2].max() < 20 for frame in sources.photos)
    assert (sources.record[0]["folder"], sources.record[0]["files"]) == ("drive.avi", 1)
    train, held_out = split(sources)
    assert (len(train.photos), len(held_out.photos)) == (8, 1)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(DetbenchError, match=r"broken\.mp4 cannot be read as a video"):
        load_folders([tmp_path / "broken.mp4"])
    with pytest.raises(DetbenchError, match=r"There is no file .*gone\.mp4"):
        load_folders([tmp_path / "gone.mp4"])


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "photos/../../evil.png"])
def test_an_archive_that_climbs_out_is_refused(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr(name, b"evil")
    with pytest.raises(DetbenchError, match=r"which would lie outside of where it is unpacked"):
        load_folders([tmp_path / "pack.zip"])
