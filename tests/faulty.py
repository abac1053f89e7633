"""Faults, tried in loops: a few of each by default; all, with what came out in ``reports/faults.md``, by

DETBENCH_FAULTS=all pytest tests/faults -n0
"""

import ctypes
import errno
import gc
import os
import platform
import re
import resource
import signal
import struct
import tempfile
import threading
import time
import traceback
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import detbench
from detbench.types import DetbenchError

REPORT = Path(detbench.__file__).parent.parent / "reports" / "faults.md"
SHARE = 50
"""Of this many tries one is made by default."""

TALLIES: list[tuple[str, Counter[str]]] = []


WHOLE = os.environ.get("DETBENCH_FAULTS") == "all"


@pytest.fixture
def tries():
    """How often something is tried, of a whole number, and at least."""
    return lambda count, least=3: count if WHOLE else max(least, count // SHARE)


@pytest.fixture
def tally():
    """Counts of what came out, under what was tried."""
    mine = []

    def count(what):
        mine.append((what, Counter()))
        return mine[-1][1]

    yield count
    if WHOLE:
        TALLIES.extend(mine)
        write()


def write():
    """The page of all that was tried so far."""
    rows = [
        f"| {what} | {sum(counter.values()):,} | {', '.join(f'{name} {n:,}' for name, n in counter.most_common())} |"
        for what, counter in TALLIES
    ]
    head = (
        "# Faults, tried in loops\n\nMade by `DETBENCH_FAULTS=all pytest tests/faults -n0`, which fails where anything"
        " else comes out than a right result or one clear line. Every test run makes a fiftieth of it.\n"
    )
    REPORT.write_text("\n".join([head, "| what | tries | what came out |", "|---|---:|---|", *rows]) + "\n", "utf-8")


class TooLong(Exception):
    """Ten seconds are over."""


def outcome(call, *arguments):
    """What comes of a call within ten seconds and 4 GB: a result, or one clear line. Anything else is raised."""

    def stop(*_):
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    linux = Path("/proc/self/clear_refs")
    if linux.exists():
        linux.write_text("5")  # the peak of memory is from now on
    try:
        call(*arguments)
        return "a result"
    except DetbenchError as error:
        assert str(error).strip()
        assert len(str(error)) < 2000
        return "a clear line"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        if linux.exists():
            peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
            assert int(peak[1]) < 4e6


def child(work):
    """Run something in a process of its own that can be killed; gives its number."""
    number = os.fork()
    if number == 0:
        status = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            work()
            status = 0
        finally:
            os._exit(status)
    return number


def _undisturbed(work, made, out):
    """Do a work whole; gives the seconds that it took, and what came out."""
    begun = time.monotonic()
    work(out)
    took, wanted = time.monotonic() - begun, made(out)
    assert wanted
    return took, wanted


def kill_and_repeat(work, made, folder, times, count, what="bytes"):
    """Do a work whole, and then in other folders, killed at random moments and done again: the same has to come out.

    Args:
        work: a function of a folder.
        made: what of the folder has to be the same.
        folder: that all these folders are made in.
        times: how often.
        count: of what came out.
        what: has to be the same, in words.
    """
    took, wanted = _undisturbed(work, made, folder / "whole")
    rng = np.random.default_rng(0)
    for i in range(times):
        out = folder / f"{i}"
        was = killed_after(lambda out=out: work(out), rng.uniform(0, 1.2 * took))
        work(out)
        _same(made(out), wanted)
        count[f"{'killed' if was else 'finished before'}, the same {what}"] += 1


def _same(made, wanted):
    """Compare what is in two folders, naming what is not the same."""
    other = sorted(name for name in made.keys() | wanted.keys() if made.get(name) != wanted.get(name))
    assert not other, other


CALLS = {
    # Writing and what goes with it, by number: write, pwrite64, writev, fsync, fdatasync, ftruncate; then seccomp.
    "x86_64": (0xC000003E, (1, 18, 20, 74, 75, 77), 317),
    "aarch64": (0xC00000B7, (64, 68, 66, 82, 83, 46), 277),
}
"""Of Linux, by machine: what stands for it, and numbers of system calls (linux/audit.h, asm/unistd.h)."""


def refuse_writes(error):
    """From now on the kernel refuses this process, in all its threads, to write to files: by a seccomp filter.

    Whatever library writes meets it. The first three files, of messages, stay open.
    """
    machine, calls, seccomp = CALLS[platform.machine()]
    load, equal, greater, give = 0x20, 0x15, 0x25, 0x06  # linux/bpf_common.h
    allow, refuse = 0x7FFF0000, 0x00050000 | error  # linux/seccomp.h
    steps = [
        (load, 0, 0, 4),  # which machine's numbers these are
        (equal, 0, len(calls) + 1, machine),
        (load, 0, 0, 0),  # the call's number
        *((equal, len(calls) - i, 0, call) for i, call in enumerate(calls)),
        (give, 0, 0, allow),
        (load, 0, 0, 16),  # the first argument: the file's number
        (greater, 1, 0, 2),
        (give, 0, 0, allow),
        (give, 0, 0, refuse),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    everywhere = 1  # in all threads
    if libc.prctl(38, 1, 0, 0, 0) or libc.syscall(seccomp, 1, everywhere, ctypes.c_char_p(program)):
        raise OSError(ctypes.get_errno(), "seccomp")


def fill_disk():
    """From now on no file of this process becomes larger than a little: what is written last is cut off."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


FAULTS = (partial(refuse_writes, errno.EIO), partial(refuse_writes, errno.EDQUOT), fill_disk)
"""What goes wrong with a disk."""


def fail_and_repeat(work, made, folder, times, count, meanwhile=None):
    """As :func:`kill_and_repeat`, where at a random moment writing begins to fail: one line, and nothing half-written.

    Args:
        meanwhile: what of the folder has to be of what will be made, after the failure; as ``made`` by default.
    """
    took, wanted = _undisturbed(work, made, folder / "whole")
    rng = np.random.default_rng(0)
    for i in range(times):
        out = folder / f"{i}"

        timer = threading.Timer(rng.uniform(0, took), FAULTS[i % len(FAULTS)])

        def failing(out=out, timer=timer):
            timer.start()
            work(out)

        what = outcome_in_child(failing)
        left = (meanwhile or made)(out) if out.exists() else {}
        whole = {name: data for name, data in left.items() if "journal" not in name}
        _same(whole, {name: wanted.get(name) for name in whole})
        work(out)
        _same(made(out), wanted)
        count[f"{what}, the same bytes after it"] += 1


def outcome_in_child(work):
    """As :func:`outcome`, of what can be done once in a process."""
    with tempfile.TemporaryFile() as said:
        number = os.fork()
        if number == 0:
            status = 1
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                work()
                status = 0
            except (DetbenchError, OSError):
                status = 7
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                gc.collect()
                for thread in threading.enumerate():  # which at a process's end finish what they are at
                    if thread is not threading.current_thread():
                        thread.join(0.2)
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        said.seek(0)
        assert status in (0, 7), (status, said.read().decode(errors="replace"))
    return "one line" if status else "a result"


def killed_after(work, seconds):
    """Run something in a process of its own, and kill it after a time; whether it was still at work."""
    number = child(work)
    time.sleep(seconds)
    os.kill(number, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == -signal.SIGKILL
