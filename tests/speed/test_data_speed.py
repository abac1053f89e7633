"""Making and listing data beside naive loops. Run by name: ``pytest -s tests/speed``."""

import subprocess
import sys
from time import process_time  # of all threads; other work on the machine does not count

import numpy as np
import torch

from detbench.data import blur, datasets, degrade, images


def test_trajectories_and_kernels(capsys):
    """A thousand paths of 2,000 steps and their kernels, beside one path at a time, step by step."""
    count, side = 1000, 41

    def ours():
        paths = blur.trajectories(count, np.random.default_rng(0))
        return blur.kernels(torch.from_numpy(blur.exposure(paths, 2000, np.full(count, 12.0))), side)

    def naive(seed):
        rng = np.random.default_rng(seed)
        speed, shake = 60.0 / 1999, 0.001
        inertia, big, noise = rng.uniform(0, 0.7), rng.uniform(0, 0.2), rng.uniform(0, 0.7)
        velocity, place, path = speed * np.exp(2j * np.pi * rng.random()), 0j, [0j]
        for _ in range(1999):
            jolt = 2 * velocity * np.exp(1j * (np.pi + rng.random() - 0.5)) if rng.random() < big * shake else 0
            push = noise * (rng.standard_normal() + 1j * rng.standard_normal()) - inertia * place
            velocity = velocity + jolt + shake * speed * push
            velocity *= speed / abs(velocity)
            place += velocity
            path.append(place)
        shifts = blur.exposure(np.array([path]), 2000, np.array([12.0]))[0]
        kernel = np.zeros((side, side))
        for x, y in shifts:
            column, row = int(np.floor(x)), int(np.floor(y))
            for right in (0, 1):
                for down in (0, 1):
                    weight = abs(1 - right - (x - column)) * abs(1 - down - (y - row))
                    kernel[row + down + side // 2, column + right + side // 2] += weight / 2000
        return kernel

    times = []
    for _ in range(4):  # the quickest: others' work takes from the cache that it is about
        started = process_time()
        kernels = ours()
        times.append((process_time() - started) / count)
    fast = min(times)
    started = process_time()
    slow = [naive(seed) for seed in range(5)]
    each = (process_time() - started) / 5
    with capsys.disabled():
        print(
            f"\ntrajectories and kernels: {fast * 1e3:.2f} ms each, step by step {each * 1e3:.1f}: {each / fast:.0f} x"
        )
    assert abs(float(kernels.sum()) - count) < 1e-6
    assert all(abs(kernel.sum() - 1) < 1e-9 for kernel in slow)
    assert each / fast >= 50


def test_shake_pairs(capsys):
    """Pairs of 640 x 426, beside a loop of float64 warps over the poses, in NumPy; equal within one level."""
    frame = np.kron(np.random.default_rng(0).integers(0, 256, (71, 80, 3)), np.ones((6, 8, 1))).astype(np.uint8)
    height, width = frame.shape[:2]
    paths = blur.trajectories(4, np.random.default_rng(1))

    def warped(light, shift, angle):
        x, y = np.meshgrid(
            np.arange(width) - (width - 1) / 2 - shift[0], np.arange(height) - (height - 1) / 2 - shift[1]
        )
        sx = np.cos(angle) * x + np.sin(angle) * y + (width - 1) / 2
        sy = -np.sin(angle) * x + np.cos(angle) * y + (height - 1) / 2
        left, top = np.floor(sx).astype(int), np.floor(sy).astype(int)
        right, down = (sx - left)[..., None], (sy - top)[..., None]
        x0, x1 = reflected(left, width), reflected(left + 1, width)
        y0, y1 = reflected(top, height), reflected(top + 1, height)
        above = light[y0, x0] * (1 - right) + light[y0, x1] * right
        below = light[y1, x0] * (1 - right) + light[y1, x1] * right
        return above * (1 - down) + below * down

    def reflected(place, size):
        place = np.where(place < 0, -1 - place, place)
        return np.where(place >= size, 2 * size - 1 - place, place)

    def naive(path):
        shifts = blur.exposure(path, 49, np.array([10.0]))[0]
        light = (frame / 255) ** blur.GAMMA
        poses = zip(shifts, np.linspace(-0.5, 0.5, 49) * np.deg2rad(0.3), strict=True)
        total = sum(warped(light, shift, angle) for shift, angle in poses)
        return ((total / 49).clip(0, 1) ** (1 / blur.GAMMA) * 255).round().astype(np.uint8)

    degrade.shaken(frame, paths[:1], 10.0, 0.3, 49)
    started = process_time()
    ours = [degrade.shaken(frame, path[None], 10.0, 0.3, 49) for path in paths]
    fast = process_time() - started
    started = process_time()
    theirs = [naive(path[None]) for path in paths]
    slow = process_time() - started
    with capsys.disabled():
        print(f"\nshake pairs: {1e3 * fast / 4:.0f} ms each, a float64 loop {1e3 * slow / 4:.0f}: {slow / fast:.1f} x")
    inner = np.s_[20:-20, 20:-20]  # borders are reflected about the pixel's edge here, and about its middle there
    assert max(np.abs(a.astype(int) - b)[inner].max() for a, b in zip(ours, theirs, strict=True)) <= 1
    assert slow / fast >= 4


def test_listing_ten_thousand_pairs(tmp_path, capsys):
    images.write_image(tmp_path / "one.png", np.zeros((32, 32, 3), np.uint8))
    data = (tmp_path / "one.png").read_bytes()
    for side in ("sharp", "blur"):
        for clip in range(20):
            folder = tmp_path / "many" / side / f"clip{clip:02d}"
            folder.mkdir(parents=True)
            for i in range(500):
                (folder / f"{i:04d}.png").write_bytes(data)
    datasets.load(str(tmp_path / "many"))
    started = process_time()
    assert len(datasets.load(str(tmp_path / "many")).pairs) == 10_000
    seconds = process_time() - started
    with capsys.disabled():
        print(f"\nlisting and checking 10,000 pairs: {seconds:.1f} s of a core")
    assert seconds < 3


FILM = """
import resource, sys
import cv2, numpy as np
from pathlib import Path
from detbench.data import make
minutes, folder = int(sys.argv[1]), Path(sys.argv[2])
film = folder / f"{minutes}.avi"
writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
for i in range(600 * minutes):
    writer.write(np.full((48, 64, 3), i % 256, np.uint8))
writer.release()
make.make(film, folder / f"out{minutes}", make.parse("average:7-7"), limit=20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_an_hours_video_takes_a_minutes_memory(tmp_path, capsys):
    peaks = []
    for minutes in (1, 60):
        done = subprocess.run(
            [sys.executable, "-c", FILM, str(minutes), str(tmp_path)], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    with capsys.disabled():
        print(f"\nan hour's video: {peaks[1] / 1024:.0f} MB, a minute's: {peaks[0] / 1024:.0f} MB")
    assert peaks[1] <= 1.1 * peaks[0]
