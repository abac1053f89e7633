"""Two workers, and what is left when networks take no time: ``pytest -s tests/speed/test_scale.py``.

``DETBENCH_SPEED=report`` makes it 100,000 frames, or DETBENCH_FRAMES, and writes ``reports/scale.md``; that takes half
an hour.
"""

import os

import pytest
import scale
from asleep import offer, run, tiny
from ratios import REPORT, here, reporting, tell

MANY = int(os.environ.get("DETBENCH_FRAMES", 100_000 if reporting() else 2_000))
FEW = MANY // 10

pytestmark = pytest.mark.timeout(3600)

PAGE = """# Scale

What a benchmark costs on many GPUs, on paper, from what is measured here; and a simulation of its engine. By
`DETBENCH_SPEED=report pytest -s tests/speed/test_scale.py`; {here}.

## The engine alone

A network that sleeps for no time and a detector that sees the same 40 boxes everywhere, on {many:,} frames of
64x48, scored by two workers of `--engine ray`: what is left is detbench's own.

| | {few:,} frames | {many:,} frames |
|---|---:|---:|
| driver's peak memory | {few_mb:.0f} MB | {many_mb:.0f} MB |
| a second of the driver's core collects, while others work | {few_collect:,.0f} frames | {many_collect:,.0f} frames |
| ... and finishes, when they have | {few_finish:,.0f} frames | {many_finish:,.0f} frames |

{verdict}

## On paper

A frame of 1280x720, measured here: deblurers take {restore:,.0f} GFLOP in the mean of all that ship, the
detector {detect:.1f}; decoding, PSNR, SSIM, matching and writing take a core {score:.0f} ms; {read:.1f} MB are read
and {written:.2f} MB written; the driver takes {driver:.2f} ms. **Assumed**: a GPU that does {tflops:.0f} TFLOP a
second, {cores} cores beside it, one storage of {disk:.0f} MB a second for all. Seconds of each stage, were it alone;
they overlap, so that the largest, in bold, is about what a run takes.

{table}

{words}
"""

WORDS = """What the design does about it: frames are decoded and scored in threads beside the networks, on whatever
node has the shard; a frame that a deblurer restored is kept, so that another detector costs no deblurring (on a
cluster only where `DETBENCH_HOME` is shared); what is found in sharp and blurred frames is kept likewise. Workers
send finished shards of at most 250 frames, twice as many under way as there are workers: so pixels and detections
do not pile up in the driver. Driver and storage do not get faster with more GPUs: `--shard` on machines with
storage of their own, and `merge` once, is what is left when they are the bottleneck. What more would bring:
pictures left on the nodes, which is most of what is written."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Frames, peak megabytes, frames a second of the driver's core: collected and finished."""
    folder, found = tmp_path_factory.mktemp("scale"), []
    environment = offer(folder / "plug") | {"DETBENCH_HOME": str(folder / "home")}
    for count in (FEW, MANY):
        data = tiny(folder / f"data{count}", count)
        _, most, collecting, finishing = run(environment, data, folder / f"runs{count}", "ray", 2)
        found.append((count, most, count / collecting, count / finishing))
    return found


def test_the_engine_alone(simulated):
    for count, most, collected, finished in simulated:
        print(f"\n{count:,} frames: {most:.0f} MB, {collected:,.0f} collected and {finished:,.0f} finished a second")
    (_, few_mb, *_), (_, many_mb, *_) = simulated
    tell(f"driver's memory, {MANY:,} frames", f"{FEW:,} frames", many_mb / few_mb, most=1.1)


def test_two_workers(tmp_path):
    """A network that sleeps half a second: a second process halves the time, but for starting."""
    environment = offer(tmp_path / "plug") | {"DETBENCH_HOME": str(tmp_path / "home")}
    data = tiny(tmp_path / "data", 240 if reporting() else 40)
    sleep = 0.5
    for how, words in (("processes", "`--device cpu,cpu`"), ("ray", "`--engine ray`")):
        one, two = (run(environment, data, tmp_path / f"{how}{count}", how, count, sleep)[0] for count in (1, 2))
        tell(f"a run by two of {words}, a network that sleeps", "by one", one / two, 1.9 if reporting() else 1.0)


def test_on_paper(simulated, street, tmp_path):
    (few, few_mb, *few_rates), (many, many_mb, *many_rates) = simulated
    frame = scale.measured(street, tmp_path, 1 / many_rates[0], 1 / many_rates[1])
    lines = ["| job | GPUs | " + " | ".join(scale.seconds(frame, 1, 1, 1, 1)) + " |", "|---|---:|---:|---:|---:|---:|"]
    first = {}
    for job, (frames, deblurers, detectors) in {
        "1,111 frames x 22 deblurers x 4 detectors": (1_111, 22, 4),
        "1,000,000 frames x 1 deblurer x 1 detector": (1_000_000, 1, 1),
    }.items():
        for gpus in (1, 8, 64):
            taken = scale.seconds(frame, frames, deblurers, detectors, gpus)
            largest = max(taken, key=taken.get)
            first.setdefault(job, []).append(f"{largest} on {gpus}")
            cells = [f"**{s:,.0f} s**" if stage == largest else f"{s:,.0f} s" for stage, s in taken.items()]
            lines.append(f"| {job} | {gpus} | " + " | ".join(cells) + " |")
    words = " ".join(f"First bottleneck of {job}: {', '.join(which)}." for job, which in first.items())
    print("\n" + "\n".join(lines))
    assert all(min(scale.seconds(frame, 1, 1, 1, gpus).values()) > 0 for gpus in (1, 64))
    if reporting():
        more = (many_mb - few_mb) * 1024 / (many - few)
        rate = min(many_rates)
        verdict = (
            f"A frame more takes {more:.1f} KB of the driver's memory: names, hashes and scores. At least 2,000 frames"
            f" a second were wanted of the driver, and no more memory: {'reached' if rate >= 2000 else 'not reached'}."
        )
        page = PAGE.format(
            here=here(), few=few, many=many, few_mb=few_mb, many_mb=many_mb, few_collect=few_rates[0],
            many_collect=many_rates[0], few_finish=few_rates[1], many_finish=many_rates[1], verdict=verdict,
            restore=frame.restore_gflop, detect=frame.detect_gflop, score=1e3 * frame.score_s, read=frame.read_mb,
            written=frame.written_mb, driver=1e3 * (frame.collect_s + frame.finish_s), tflops=scale.TFLOPS,
            cores=scale.CORES, disk=scale.DISK, table="\n".join(lines), words=f"{words}\n\n{WORDS}",
        )  # fmt: skip
        REPORT.with_name("scale.md").write_text(page, "utf-8")
