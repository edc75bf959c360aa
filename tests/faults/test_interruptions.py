"""Runs that are disturbed by kills, signals, a full disk, changed data or a wrong clock end like an undisturbed run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import one_line, tiny_arrays, write_folder
from trials import SMALL, best_score, finish, kept, long_alone, pick, run, start

pytestmark = pytest.mark.faults

EPOCHS = 6
AUGMENTED = ["--flip=random", "--zoom=0.2", "--translate=2"]
SETTINGS = [*SMALL, *AUGMENTED, "--precision=float32", f"--epochs={EPOCHS}"]
KILLED = Path(__file__).with_name("killed.py")


class Undisturbed(NamedTuple):
    """An undisturbed run: its data, its reproducible files, its score, its seconds, its number of file operations."""

    data: Path
    folder: Path
    kept: tuple
    score: float
    seconds: float
    operations: int


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    x, y = tiny_arrays(rows=800)
    data = write_folder(root / "data", x_train=x, y_train=y)
    began = time.monotonic()
    status, _, err = train(data, root)
    seconds = time.monotonic() - began
    assert status == 0, err
    folder = root / "run"
    status, _, err = train(data, root / "again", through=[KILLED, 0, root / "again"])
    assert status == 0, err
    operations = int(err.splitlines()[-1])
    assert kept(root / "again" / "run") == kept(folder)
    return Undisturbed(data, folder, kept(folder), best_score(folder), seconds, operations)


def arguments(data, root, *more):
    return [f"--data={data}", f"--checkpoints={root}", "--run=run", "--resume", *SETTINGS, *more]


def train(data, root, *more, **options):
    """Start or continue the run; return (exit status, stdout, stderr)."""
    return run("train", *arguments(data, root, *more), **options)


def started(undisturbed, root, **options):
    return start("train", *arguments(undisturbed.data, root), **options)


def same(undisturbed, root):
    """Return whether the run has the same files as the undisturbed run."""
    return kept(root / "run") == undisturbed.kept and best_score(root / "run") == undisturbed.score


def wait_for(path, process, seconds=60):
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.01)


def test_sigkill_at_random_moments(undisturbed, tmp_path, tally):
    """Half of the kills come after random seconds, half before a random file operation, until the run is finished.

    The file operations include those between a checkpoint's rename and its links.
    """
    generator = np.random.default_rng(8)
    wanted, done, number = pick(100, 4), 0, 0
    while done < wanted:
        number += 1
        root, status = tmp_path / str(number), -signal.SIGKILL
        while status == -signal.SIGKILL:
            if done == wanted:
                status, _, err = train(undisturbed.data, root)
            elif generator.random() < 0.5:
                process = started(undisturbed, root)
                time.sleep(generator.uniform(0, undisturbed.seconds))
                process.kill()
                status, _, err = finish(process)
            else:
                at = generator.integers(1, undisturbed.operations + 1)
                status, _, err = train(undisturbed.data, root, through=[KILLED, at, root])
            done += status == -signal.SIGKILL
        assert status == 0, err
        lost = not same(undisturbed, root)
        tally("runs killed until they were through", lost)
        assert not lost
    tally("SIGKILL in training, then --resume", tried=done)


@pytest.mark.parametrize(
    ("command", "output"), [("eval", "dev.json"), pytest.param("submit", "result.npy", marks=pytest.mark.slow)]
)
def test_sigkill_while_a_report_or_a_submission_is_written(command, output, undisturbed, tmp_path, tally):
    whole, checkpoints = tmp_path / "whole", tmp_path / "checkpoints"

    def asked(root, out):
        return [f"--checkpoints={root}", "--run=run", *([f"--out={out}"] if command == "submit" else [])]

    def found(root, out):
        return (root / "run" / "report" if command == "eval" else out) / output

    shutil.copytree(undisturbed.folder.parent, whole, symlinks=True)
    shutil.copytree(undisturbed.folder.parent, checkpoints, symlinks=True)
    status, _, err = run(command, *asked(whole, tmp_path / "first"), through=[KILLED, 0, tmp_path])
    assert status == 0, err
    operations, expected = int(err.splitlines()[-1]), found(whole, tmp_path / "first").read_bytes()
    out = tmp_path / "second"
    for at in np.resize(np.random.default_rng(1).permutation(operations) + 1, pick(10, 1)):
        status, _, err = run(command, *asked(checkpoints, out), through=[KILLED, at, tmp_path])
        assert status == -signal.SIGKILL, err
        status, _, err = run(command, *asked(checkpoints, out))
        assert status == 0, err
        lost = found(checkpoints, out).read_bytes() != expected or kept(checkpoints / "run") != undisturbed.kept
        tally(f"SIGKILL in {command}, then again", lost)
        assert not lost


@pytest.mark.parametrize(
    ("number", "times"),
    [
        pytest.param(signal.SIGINT, 1, id="SIGINT once"),
        long_alone(signal.SIGINT, 2, id="SIGINT twice"),
        long_alone(signal.SIGTERM, 1, id="SIGTERM once"),
        pytest.param(signal.SIGTERM, 2, id="SIGTERM twice"),
    ],
)
def test_signals_at_random_moments(number, times, undisturbed, tmp_path, tally):
    """One signal stops training with its last epoch saved. Two signals, or one before training, end it at once."""
    generator = np.random.default_rng([number, times])
    for each in range(pick(10, 1)):
        root = tmp_path / str(each)
        process = started(undisturbed, root)
        if each % 2 == 0:
            wait_for(root / "run" / "last", process)
            time.sleep(generator.uniform(0, 0.3))
        else:
            time.sleep(generator.uniform(0, undisturbed.seconds))
        for _ in range(times):
            process.send_signal(number)
            time.sleep(generator.uniform(0, 0.01))
        began = time.monotonic()
        status, out, err = finish(process, 60)
        soon = time.monotonic() - began < 5  # curves.png and Python's own end included
        expected = {128 + number, -number, 0} if each % 2 or times == 2 else {128 + number}
        well = status in expected and "Traceback" not in err and (soon or status == 0)
        if each % 2 == 0 and times == 1:
            again = f"./run.sh train --run=run --checkpoints={root} --data={undisturbed.data} --resume"
            well = well and "the last finished epoch is saved" in out and again in out and err == ""
            well = well and (root / "run" / "curves.png").stat().st_size > 1000
        again, _, said = train(undisturbed.data, root)
        lost = not well or again != 0 or not same(undisturbed, root)
        tally(f"{signal.Signals(number).name} {'once' if times == 1 else 'twice'}, then --resume", lost)
        assert not lost, (status, out, err, said)


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 8 MB; return (folder, remount(option)). Skip the test if mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        reason = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        reason = str(error)
    if reason:
        pytest.skip(f"no file system can be mounted here: {reason}")
    yield folder, lambda option: subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(undisturbed, small_disk, tmp_path, tally):
    """With random free space after two epochs, training ends with one line and status 2; --resume continues."""
    disk, _ = small_disk
    assert train(undisturbed.data, tmp_path / "begun", "--epochs=2")[0] == 0
    begun = kept(tmp_path / "begun" / "run")
    generator = np.random.default_rng(3)
    for each in range(pick(12, 2)):
        root = disk / str(each)
        shutil.copytree(tmp_path / "begun", root, symlinks=True)
        free = int(generator.integers(0, 150_000)) if each else 0
        space = os.statvfs(disk)
        with (disk / "filling").open("wb") as file:
            file.write(bytes(max(0, space.f_bavail * space.f_frsize - free)))
        status, _, err = train(undisturbed.data, root)
        well = status == 2 and one_line(err) and "No space left" in err and str(root / "run") in err
        saved = kept(root / "run")
        well = well and (set(begun[0]) <= set(saved[0]) or len(saved[2]) > 2)
        (disk / "filling").unlink()
        status, _, said = train(undisturbed.data, root)
        lost = not well or status != 0 or not same(undisturbed, root)
        tally("a full disk, then --resume", lost)
        assert not lost, (err, said)
        shutil.rmtree(root)


def test_a_read_only_run_folder(undisturbed, small_disk, tally):
    disk, remount = small_disk
    assert train(undisturbed.data, disk, "--epochs=2")[0] == 0
    before = kept(disk / "run")
    remount("ro")
    try:
        status, _, err = train(undisturbed.data, disk)
        well = status == 2 and one_line(err) and "Read-only" in err and kept(disk / "run") == before
    finally:
        remount("rw")
    status = train(undisturbed.data, disk)[0]
    lost = not well or status != 0 or not same(undisturbed, disk)
    tally("a read-only run folder, then --resume", lost)
    assert not lost, err


def deleted(path):
    path.unlink()


def replaced(path):
    new = path.with_name("new.npy")
    np.save(new, np.load(path)[::-1])
    new.replace(path)


def overwritten(path):
    with path.open("r+b") as file:
        file.seek(-10_000, os.SEEK_END)
        file.write(bytes(10_000))


def truncated(path):
    os.truncate(path, path.stat().st_size // 2)


DAMAGE = {  # name: (what happens to x_train.npy after an epoch, whether the run goes on with the old pixels)
    "deleted": (deleted, True),
    "replaced by another file": (replaced, True),
    "overwritten": (overwritten, False),
    "truncated": (truncated, False),
}


@pytest.mark.parametrize(
    "case",
    [long_alone(case, id=case) if case in ("replaced by another file", "truncated") else case for case in DAMAGE],
)
def test_data_that_change_while_they_are_trained_on(case, undisturbed, tmp_path, tally):
    damage, goes_on = DAMAGE[case]
    data, root = tmp_path / "data", tmp_path / "checkpoints"
    shutil.copytree(undisturbed.data, data)
    shutil.copy(data / "x_train.npy", tmp_path)
    process = start("train", *arguments(data, root))
    wait_for(root / "run" / "last", process)
    damage(data / "x_train.npy")
    status, out, err = finish(process)
    if goes_on:
        well = status == 0
    else:
        well = status == 2 and one_line(err) and "x_train.npy: changed" in err
        status, _, again = train(data, root)
        well = well and status == 2 and one_line(again) and ("fingerprint" in again or "ends early" in again)
    shutil.copy(tmp_path / "x_train.npy", data)
    status = train(data, root)[0]
    lost = not well or status != 0 or not same(undisturbed, root)
    tally(f"training images {case} while a run reads them", lost)
    assert not lost, (out, err)


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
/* The wall clock runs backwards: a second of it passes as minus an hour. */
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    static time_t first;
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(id, now);
    if (id == CLOCK_REALTIME && status == 0) {
        if (!first) first = now->tv_sec;
        now->tv_sec = first - 3600 * (now->tv_sec - first);
    }
    return status;
}
"""


@pytest.fixture
def backwards(tmp_path):
    """Return the environment for a process whose wall clock runs backwards."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or os.uname().sysname != "Linux":
        pytest.skip("no C compiler, or a system where no library can be put before the clock")
    (tmp_path / "clock.c").write_text(CLOCK)
    library = tmp_path / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


@pytest.mark.slow
@pytest.mark.ci
def test_the_clock_is_one_that_runs_backwards(backwards):
    code = "import time; began = time.time(); time.sleep(1.1); print(time.time() - began)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **backwards}, check=True
    )
    assert float(done.stdout) < -3000


@pytest.mark.slow
@pytest.mark.ci
def test_a_clock_set_back(backwards, undisturbed, tmp_path, tally):
    process = started(undisturbed, tmp_path, env=backwards)
    wait_for(tmp_path / "run" / "epoch-0002", process)
    process.kill()
    finish(process)
    status, _, err = train(undisturbed.data, tmp_path, env=backwards)
    lost = status != 0 or not same(undisturbed, tmp_path)
    tally("a clock that runs backwards, a kill, then --resume", lost)
    assert not lost, err


def test_two_trainings_on_one_folder(undisturbed, tmp_path, tally):
    """The second training is refused and changes nothing. A killed training leaves no lock."""
    first = started(undisturbed, tmp_path)
    wait_for(tmp_path / "run" / "last", first)
    first.send_signal(signal.SIGSTOP)
    status, _, err = train(undisturbed.data, tmp_path)
    refused = status == 2 and one_line(err) and "another training" in err
    first.kill()
    assert finish(first)[0] == -signal.SIGKILL
    status, _, err = train(undisturbed.data, tmp_path)
    lost = not refused or status != 0 or not same(undisturbed, tmp_path)
    tally("a second training on one folder, then a kill of the first", lost)
    assert not lost, err
