"""Training with several workers, which are processes on the loopback interface."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import processes as python
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder

from graphcnn import launch
from graphcnn.common.errors import InputError
from graphcnn.ops.tf1 import tf1
from graphcnn.storage.run import Run
from graphcnn.training import launch_workers, workers
from graphcnn.training.launch_workers import free_ports
from graphcnn.training.workers import Workers, workers_from_environment

ROOT = Path(__file__).resolve().parents[2]
COMMON = [*TINY, "--dev_split=stratified", "--precision=float32", "--flip=random", "--translate=1"]
SETTINGS = {  # name: (flags, how far weights may be apart, in the variable's largest)
    "dropout": ([*COMMON], 1e-5),
    "class weights": ([*COMMON, "--class_weights=CLASS_WEIGHTS", "--label_smoothing=0.1"], 1e-5),
    "batch norm": ([*COMMON, "--batch_norm", "--batch_norm_position=after", "--optimizer=nesterov"], 1e-3),
}
PROGRAM = """
import hashlib, sys
import numpy as np
from graphcnn import train
from graphcnn.common.command import run_command
from graphcnn.storage import checkpoint
from graphcnn.training import workers
calls, real = [], workers.Workers.check_same_variables
def check_same_variables(self, session, variables):
    real(self, session, variables)
    calls.append(0)
    content = b"".join(np.ascontiguousarray(each).tobytes() for each in session.run(variables))
    print("sha256", hashlib.sha256(content).hexdigest(), flush=True)
    DO
workers.Workers.check_same_variables = check_same_variables
sys.exit(run_command("train", "", train.define_flags(), train.main))
"""
QUICK = PROGRAM.replace("calls, real", "workers.CHECK_SECONDS, workers.ANSWER_SECONDS = 0.5, 1.0; calls, real", 1)


def user():
    """Return the environment of a user, without the log settings of this process."""
    return {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}


def start(count, *arguments, do="pass", others=(), program=PROGRAM, hosts=None, ports=None):
    """Start `train` in `count` processes.

    do: what worker 1 does after each check. others: its own flags. hosts: [(address, what runs a command there)].
    """
    hosts = hosts or [("127.0.0.1", [])] * count
    addresses = [f"{host}:{port}" for (host, _), port in zip(hosts, ports or free_ports(count), strict=True)]
    processes = []
    for index in range(count):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        code = program.replace("DO", do if index == 1 else "pass")
        flags = [*arguments, *(others if index == 1 else [])]
        environment = {"TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "3"}
        processes.append(python.start("-c", code, *flags, prefix=hosts[index][1], **environment))
    return processes


def finish(processes, seconds=120):
    """Return [(exit status, stdout, stderr)] of the processes."""
    try:
        return [(*process.communicate(timeout=seconds), process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()


def weights(root, name):
    """Return {variable: array} of a run's last checkpoint, without the optimizer's variables."""
    reader = tf1.train.NewCheckpointReader(str(root / name / "last" / "model.ckpt"))
    names = [
        name for name in reader.get_variable_to_shape_map() if name.rpartition("/")[2] in ("w", "b", "beta", "mean")
    ]
    return {name: reader.get_tensor(name) for name in names}


@pytest.mark.parametrize("case", SETTINGS)
def test_two_workers_train_like_one(case, tmp_path, command):
    flags, tolerance = SETTINGS[case]
    x, y = tiny_arrays(rows=250)  # an uneven last batch
    data = write_folder(tmp_path / "data", x_train=x, y_train=y)
    (tmp_path / "w.json").write_text('{"0": 1, "1": 4, "2": 0.5}')
    flags = [flag.replace("CLASS_WEIGHTS", str(tmp_path / "w.json")) for flag in flags]
    common = [f"--data={data}", f"--checkpoints={tmp_path}", *flags]
    assert command("train", *common, "--run=one").status == 0
    outcomes = finish(start(2, *common, "--run=two"))
    assert [status for _, _, status in outcomes] == [0, 0], outcomes
    hashes = [[line for line in out.splitlines() if line.startswith("sha256")] for out, _, _ in outcomes]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 3  # as it began, and after each epoch
    one, two = weights(tmp_path, "one"), weights(tmp_path, "two")
    assert set(one) == set(two)
    for name, array in one.items():
        assert two[name] == pytest.approx(array, abs=tolerance * float(np.abs(array).max())), name
    histories = [Run(tmp_path, name).history(2) for name in ("one", "two")]
    for a, b in zip(*histories, strict=True):
        assert (a["step"], a["accuracy"], a["dev_accuracy"]) == (b["step"], b["accuracy"], b["dev_accuracy"])
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)
        assert a["dev_cross_entropy"] == pytest.approx(b["dev_cross_entropy"], rel=1e-2)


def test_a_batch_size_above_the_training_split_trains_like_the_whole_split(tmp_path, command):
    """Each batch is the whole split, so the moving moments of batch norm follow it with the full momentum."""
    common = [f"--data={write_folder(tmp_path / 'data')}", f"--checkpoints={tmp_path}", *SETTINGS["batch norm"][0]]
    for size in (72, 512):  # there are 72 training images
        assert command("train", *common, f"--batch_size={size}", f"--run=one{size}").status == 0
    outcomes = finish(start(2, *common, "--batch_size=512", "--run=two"))
    assert [status for _, _, status in outcomes] == [0, 0], outcomes
    split, larger, two = (weights(tmp_path, name) for name in ("one72", "one512", "two"))
    assert "conv1_1/norm/mean" in split
    for name, array in split.items():
        assert np.array_equal(larger[name], array), name
        assert two[name] == pytest.approx(array, abs=1e-3 * float(np.abs(array).max())), name


def started(count, tmp_path, **options):
    """Return (the processes of a long training, its flags) once it has saved its third epoch."""
    common = [f"--data={write_folder(tmp_path / 'data')}", f"--checkpoints={tmp_path}", "--run=a"]
    processes = start(count, *common, *COMMON, "--epochs=100000", **options)
    wait_for(tmp_path / "a" / "epoch-0003")
    return processes, common


def wait_for(path):
    until = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)


def test_a_lost_worker_ends_the_others_and_fewer_resume(tmp_path):
    processes, common = started(3, tmp_path)
    processes[1].send_signal(signal.SIGKILL)
    began = time.monotonic()
    first, _, last = finish(processes, 60)
    assert time.monotonic() - began < 30
    for _, err, status in (first, last):
        assert status == 2
        assert one_line(err), err
        assert "worker 1 (127.0.0.1:" in err
        assert "is lost" in err
    done = Run(tmp_path, "a").last_epoch()[0]
    assert done >= 3
    outcomes = finish(start(2, *common, "--resume", f"--epochs={done + 1}"))
    assert [(err, status) for _, err, status in outcomes] == [("", 0), ("", 0)]
    assert f"resumed after epoch {done}" in outcomes[0][0]


def test_a_stopped_worker_ends_the_others(tmp_path):
    processes, _ = started(2, tmp_path, program=QUICK)
    processes[1].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        _, err, status = finish(processes[:1], 60)[0]
    finally:
        processes[1].send_signal(signal.SIGCONT)
    assert time.monotonic() - began < 20
    assert (status, one_line(err)) == (2, True), err
    assert "worker 1 (127.0.0.1:" in err
    assert "is lost" in err
    _, err, status = finish(processes[1:], 60)[0]  # it notices that worker 0 has ended
    assert (status, one_line(err)) == (2, True), err
    assert "worker 0 (127.0.0.1:" in err


@pytest.mark.slow
def test_a_training_after_a_stopped_worker_ends_with_the_same_bytes(tmp_path):
    processes, common = started(3, tmp_path)  # with the default time limits
    processes[1].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    outcomes = finish([processes[0], processes[2]], 60)
    assert time.monotonic() - began < 35
    processes[1].kill()
    for _, err, status in outcomes:
        assert (status, one_line(err)) == (2, True), err
        assert "worker 1 (127.0.0.1:" in err
    last = f"--epochs={Run(tmp_path, 'a').last_epoch()[0] + 2}"
    for arguments in ([*common, "--resume", last], [*common[:-1], "--run=whole", *COMMON, last]):
        assert [(err, status) for _, err, status in finish(start(3, *arguments))] == [("", 0)] * 3
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        assert len({(tmp_path / run / "last" / name).read_bytes() for run in ("a", "whole")}) == 1


@pytest.mark.slow
@pytest.mark.ci
def test_a_worker_that_hangs_ends_the_others(tmp_path):
    do = "workers.WAIT_SECONDS = 3; import threading; len(calls) == 3 and threading.Event().wait()"
    program = QUICK.replace("DO", "workers.WAIT_SECONDS = 3; DO")
    common = [f"--data={write_folder(tmp_path / 'data')}", f"--checkpoints={tmp_path}", "--run=a", *COMMON]
    (_, err, status), (_, late, other) = finish(start(2, *common, "--epochs=100000", program=program, do=do))
    assert (status, other, one_line(err), one_line(late)) == (2, 2, True, True), (err, late)
    assert "worker 0: the sum over all workers was not ready within 3 s" in err
    assert "worker 0 (127.0.0.1:" in late  # the thread that monitors worker 0 ends the worker that hangs
    assert Run(tmp_path, "a").last_epoch()[0] >= 2


def test_two_signals_end_a_worker_that_waits_for_a_stopped_one(tmp_path):
    processes, _ = started(2, tmp_path)
    processes[1].send_signal(signal.SIGSTOP)
    try:
        time.sleep(1)  # so that worker 0 waits
        for _ in range(2):
            processes[0].send_signal(signal.SIGINT)
            time.sleep(0.05)  # a signal is lost while the same signal is pending
        _, err, status = finish(processes[:1], 3)[0]
    finally:
        processes[1].kill()
    assert (status, err) == (130, "graphcnn train: interrupted\n")
    assert Run(tmp_path, "a").last_epoch()[0] >= 3


@pytest.fixture
def two_hosts():
    """Connect two network namespaces; return ([(address, command)], cut()). Skip the test if that is not allowed."""
    names = [f"graphcnn{os.getpid()}{letter}" for letter in "ab"]
    steps = [
        *(["netns", "add", name] for name in names),
        ["link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1]],
        *(["-n", name, "addr", "add", f"10.77.0.{n}/24", "dev", "eth0"] for n, name in enumerate(names, start=1)),
        *(["-n", name, "link", "set", device, "up"] for name in names for device in ("lo", "eth0")),
    ]
    try:
        try:
            for step in steps:
                subprocess.run(["ip", *step], check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        hosts = [(f"10.77.0.{n}", ["ip", "netns", "exec", name]) for n, name in enumerate(names, start=1)]
        yield hosts, lambda: subprocess.run(["ip", "-n", names[0], "link", "set", "eth0", "down"], check=True)
    finally:
        for name in names:
            with suppress(OSError):
                subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.mark.slow
def test_a_cut_cable_ends_both_and_one_resumes(two_hosts, tmp_path, command):
    hosts, cut = two_hosts
    processes, common = started(2, tmp_path, hosts=hosts)
    cut()
    began = time.monotonic()
    outcomes = finish(processes, 60)
    assert time.monotonic() - began < 30
    for other, (_, err, status) in zip((1, 0), outcomes, strict=True):
        assert status == 2
        assert one_line(err), err
        assert f"worker {other} (10.77.0.{other + 1}:" in err
        assert "is lost" in err
    done = Run(tmp_path, "a").last_epoch()[0]
    outcome = command("train", *common, "--resume", f"--epochs={done + 1}")
    assert outcome.status == 0, outcome.err
    assert f"resumed after epoch {done}" in outcome.out


def test_all_workers_stop_if_one_gets_a_signal(tmp_path):
    processes, _ = started(2, tmp_path)
    processes[1].send_signal(signal.SIGTERM)
    outcomes = finish(processes, 60)
    assert [(err, status) for _, err, status in outcomes] == [("", 128 + signal.SIGINT), ("", 128 + signal.SIGTERM)]
    assert "the last finished epoch is saved" in outcomes[0][0]


def test_a_worker_that_ends_before_its_first_check_is_lost(monkeypatch):
    ended, here = [], Workers(["127.0.0.1:1", "127.0.0.1:2"], 0)
    monkeypatch.setattr(workers, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(here, "_end", lambda line: (ended.append(line), here._done.set()))
    here._all_started.set()
    here._monitor(1)
    assert len(ended) == 1
    assert ended[0].startswith("worker 1 (127.0.0.1:2) is lost")


def test_a_sum_that_takes_too_long_ends_the_worker(monkeypatch):
    ended, here = [], Workers(["127.0.0.1:1", "127.0.0.1:2"], 0)
    monkeypatch.setattr(workers, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(workers, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(here, "_end", lambda line: (ended.append(line), here._done.set()))
    here._all_started.set()
    watch = threading.Thread(target=here._watch_sums, daemon=True)
    watch.start()
    for _ in range(20):  # many short sums, and no sum, are no long sum
        here._runs, here._running = here._runs + 1, True
        time.sleep(0.01)
        here._running = False
    time.sleep(0.1)
    assert ended == []
    here._running = True
    watch.join(5)
    assert len(ended) == 1
    assert "the sum over all workers was not ready within" in ended[0]


def test_the_silent_worker_with_most_missed_checks_is_named(monkeypatch):
    here = Workers(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"], 2)
    monkeypatch.setattr(here, "_answers", lambda n: False)
    here._missed[1] = 2  # worker 1 was stopped, so worker 0 ended a moment ago
    assert here._lost().worker == 1


def test_ctrl_c_ends_a_worker_that_waits_for_the_others(tmp_path):
    common = [f"--data={write_folder(tmp_path / 'data')}", f"--checkpoints={tmp_path}", *COMMON]
    alone, absent = start(2, *common)
    absent.kill()
    while "waiting for the other workers" not in alone.stdout.readline():
        assert alone.poll() is None
    time.sleep(1)  # for it to do so
    alone.send_signal(signal.SIGINT)
    assert finish([alone], 20)[0][2] == -signal.SIGINT


def test_waiting_for_workers_that_never_start_ends(tmp_path):
    """Worker 0 is absent, and worker 1 accepts connections without an answer. Workers 2 and 3 answer each other."""
    program = QUICK.replace("calls, real", "workers.WAIT_SECONDS, workers.REMINDER_SECONDS = 6, 1; calls, real", 1)
    common = [f"--data={write_folder(tmp_path / 'data')}", f"--checkpoints={tmp_path}", *COMMON]
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        ports = [*free_ports(3), silent.getsockname()[1]]
        processes = start(4, *common, program=program, ports=[ports[0], ports[3], *ports[1:3]])
        for process in processes[:2]:
            process.kill()
        outcomes = finish(processes, 60)
    for out, err, status in outcomes[2:]:
        assert (status, one_line(err)) == (2, True), err
        assert re.search(r": worker 0 \(127.*\), worker 1 \(127.*\) have not started within 6 s; start all", err), err
        assert re.search(r"still waiting for worker 0 \(127.*\), worker 1 \(127", out), out
        assert "worker 2" not in err
        assert "worker 3" not in err


@pytest.mark.slow
@pytest.mark.ci
def test_a_worker_that_is_stopped_before_all_have_started_is_lost(tmp_path):
    common = [f"--data={write_folder(tmp_path / 'data')}", f"--checkpoints={tmp_path}", *COMMON]
    first, stopped, absent = start(3, *common, program=QUICK)
    absent.kill()
    for process in (first, stopped):
        while "waiting for the other workers" not in process.stdout.readline():
            assert process.poll() is None
    time.sleep(3)  # so that worker 0 gets an answer
    stopped.send_signal(signal.SIGSTOP)
    try:
        _, err, status = finish([first], 30)[0]
    finally:
        stopped.kill()
    assert (status, one_line(err)) == (2, True), err
    assert "worker 1 (127.0.0.1:" in err
    assert "is lost" in err


def test_a_run_of_one_worker_is_resumed_by_two(tmp_path, command):
    data = write_folder(tmp_path / "data")
    common = [f"--data={data}", f"--checkpoints={tmp_path}"]
    for name, epochs in (("whole", 2), ("parts", 1)):
        assert command("train", *common, f"--run={name}", *COMMON, f"--epochs={epochs}").status == 0
    outcomes = finish(start(2, *common, "--run=parts", "--resume", "--epochs=2"))
    assert [status for _, _, status in outcomes] == [0, 0], outcomes
    one, two = weights(tmp_path, "whole"), weights(tmp_path, "parts")
    for name, array in one.items():
        assert two[name] == pytest.approx(array, abs=1e-5 * float(np.abs(array).max())), name


DIFFER = {  # name: (what worker 1 does after a check, its other flags, words of both tasks' messages)
    "settings": ("pass", ["--seed=7"], "has different settings or data than worker"),
    "weights": (
        "checkpoint.assign(session, variables, {'conv1_1/b': np.full(8, 7.0)})",
        [],
        "its weights differ from those of worker",
    ),
}


@pytest.mark.parametrize("case", DIFFER)
def test_workers_that_differ_stop(case, tmp_path):
    do, others, words = DIFFER[case]
    data = write_folder(tmp_path / "data")
    common = [f"--data={data}", f"--checkpoints={tmp_path}", "--run=a", *COMMON]
    for out, err, status in finish(start(2, *common, do=do, others=others)):
        assert status == 2, (out, err)
        assert one_line(err), err
        assert words in err or "is lost" in err


TWO = '{"cluster": {"worker": ["a:1", "b:1"]}}'
BAD = {  # name: (TF_CONFIG, flags, words)
    "no JSON": ("{", [], "TF_CONFIG"),
    "no cluster": ("{}", [], "'cluster' is missing"),
    "parameter servers": ('{"cluster": {"ps": ["a:1"], "worker": ["a:1", "b:1"]}}', [], "found ps, expected workers"),
    "no addresses": ('{"cluster": {"worker": ["a", "b"]}}', [], "is not a list of"),
    "a port beyond": ('{"cluster": {"worker": ["a:1", "b:65536"]}}', [], "is not a list of"),
    "one twice": ('{"cluster": {"worker": ["a:1", "a:1"]}}', [], "not one of 2 different workers"),
    "an index beyond": ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 2}}', [], "index 2 is not one of 2"),
    "micro-batches": (
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        ["--micro_batch=2"],
        "--micro_batch: is possible with one worker only",
    ),
    "too small a batch": (TWO, ["--batch_size=71"], "leave a batch of 1, fewer than"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tf_config(case, data_folder, tmp_path, command, monkeypatch):
    text, flags, words = BAD[case]
    monkeypatch.setenv("TF_CONFIG", text)
    outcome = command("train", f"--data={data_folder}", f"--checkpoints={tmp_path}", "--run=a", *TINY, *flags)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err
    assert not (tmp_path / "a").exists()


def test_a_single_worker_is_not_distributed(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}')
    assert workers_from_environment() is None


@pytest.mark.parametrize(("rows", "count"), [(16, 2), (17, 3), (5, 5), (128, 7)])
def test_slices_make_up_the_batch(rows, count):
    batch = np.random.default_rng(0).permutation(1000)[:rows]
    parts = [Workers(["a:1"] * count, index).slice_of(batch) for index in range(count)]
    assert np.array_equal(np.concatenate([part for _, part in parts]), batch)
    assert [first for first, _ in parts] == np.cumsum([0, *(len(part) for _, part in parts)])[:-1].tolist()
    assert max(len(part) for _, part in parts) - min(len(part) for _, part in parts) <= 1


@pytest.mark.slow
@pytest.mark.ci
def test_launch(tmp_path):
    data = write_folder(tmp_path / "data")
    common = [f"--data={data}", f"--checkpoints={tmp_path}", "--run=a", *COMMON, "--precision=bfloat16"]
    asked = [sys.executable, "-m", "graphcnn.launch", "--workers=3"]  # shared where there are fewer processors
    done = subprocess.run([*asked, *common], cwd=ROOT, env=user(), capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("epoch 2/2") == 1
    again = subprocess.run([*asked, *common], cwd=ROOT, env=user(), capture_output=True, text=True, timeout=120)
    assert again.returncode == 2
    assert "--run=a: this run exists" in again.stderr


def test_launch_passes_sigterm_on(tmp_path):
    data = write_folder(tmp_path / "data")
    flags = [f"--data={data}", f"--checkpoints={tmp_path}", "--run=a", *COMMON, "--epochs=100000"]
    asked = [sys.executable, "-m", "graphcnn.launch", "--workers=2", *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(asked, cwd=ROOT, env=user(), **pipes) as all_:
        wait_for(tmp_path / "a" / "epoch-0002")
        all_.terminate()
        out, err = all_.communicate(timeout=60)  # to the end of what its tasks write
    assert (all_.returncode, err) == (128 + signal.SIGTERM, "")
    assert "the last finished epoch is saved" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "times"),
    [(signal.SIGINT, 1), pytest.param(signal.SIGINT, 2, marks=pytest.mark.ci), (signal.SIGTERM, 2)],
)
def test_launch_with_ctrl_c(number, times, tmp_path):
    """One Ctrl-C stops all workers after the step. Two end them at once, although worker 1 is stopped."""
    data = write_folder(tmp_path / "data")
    flags = [f"--data={data}", f"--checkpoints={tmp_path}", "--run=a", *COMMON, "--epochs=100000"]
    asked = [sys.executable, "-m", "graphcnn.launch", "--workers=2", *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(asked, cwd=ROOT, env=user(), **pipes) as all_:
        wait_for(tmp_path / "a" / "epoch-0002")
        children = Path(f"/proc/{all_.pid}/task/{all_.pid}/children").read_text().split()
        if times == 2:
            os.kill(int(children[1]), signal.SIGSTOP)
            time.sleep(1)
        for _ in range(times):
            all_.send_signal(number)
            time.sleep(0.1)
        began = time.monotonic()
        out, err = all_.communicate(timeout=60)
        seconds = time.monotonic() - began
    assert all_.returncode == 128 + number
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    if times == 1:
        assert err == ""
        assert "the last finished epoch is saved" in out
    else:
        assert err == "graphcnn train: interrupted\n"
        assert seconds < 3


@pytest.mark.parametrize(
    ("given", "divided"),
    [
        (["--workers=3", "--run=a"], ["--workers=3", "--", "--run=a"]),
        (["--run", "a", "--workers", "3", "--seed=1"], ["--workers", "3", "--", "--run", "a", "--seed=1"]),
        (["--workers"], ["--workers", "--"]),
    ],
)
def test_launch_knows_its_flags(given, divided):
    assert launch.divided(given) == divided


def test_launch_leaves_no_worker_behind(monkeypatch):
    monkeypatch.setattr(launch_workers, "GRACE_SECONDS", 0.5)
    programs = ["import time; time.sleep(100)", "raise SystemExit(2)", "pass"]
    tasks = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    assert launch_workers.wait(tasks) == 2
    assert [task.poll() for task in tasks] == [-signal.SIGKILL, 2, 0]


def test_launch_kills_a_stopped_worker_after_a_second_signal(monkeypatch):
    monkeypatch.setattr(launch_workers, "SIGNAL_SECONDS", 0.2)
    task, signals = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]), []
    task.send_signal(signal.SIGSTOP)
    threading.Timer(0.3, lambda: signals.extend([signal.SIGINT] * 2)).start()
    assert launch_workers.wait([task], signals) == -signal.SIGKILL


def test_ctrl_z_pauses_the_workers_too(monkeypatch):
    """`launch` passes Ctrl-Z on as SIGSTOP, and continues the workers once it continues."""
    sent, itself = [], []
    monkeypatch.setattr(launch_workers.os, "kill", lambda _, number: itself.append((list(sent), number)))
    with launch_workers._passing_on_signals([SimpleNamespace(send_signal=sent.append)]):
        signal.raise_signal(signal.SIGTSTP)
    assert itself == [([signal.SIGSTOP], signal.SIGSTOP)]
    assert sent == [signal.SIGSTOP, signal.SIGCONT]


@pytest.mark.parametrize("workers", ["0", "9999", "x"])
def test_bad_numbers_of_workers(workers, command):
    outcome = command("launch", f"--workers={workers}")
    assert (outcome.status, one_line(outcome.err)) == (2, True)


def test_an_address_in_use_is_reported(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match=f"TF_CONFIG: this worker cannot listen on {address}"):
            Workers([address, "127.0.0.1:1"], 0).session(tf1.Graph())
