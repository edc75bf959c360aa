"""After a failed system call, or a kill at one, nothing is lost and the same command works.

GRAPHCNN_FAULTS_SEED=N draws other trials. GRAPHCNN_FAULTS_SECONDS=N sets the time for all trials.
GRAPHCNN_FAULTS_TRIAL="resume rename:3:EIO" repeats one trial: the third call of rename fails in the scenario `resume`.
"""

import itertools
import os
import shutil
import signal
import time
import zipfile
from typing import NamedTuple

import numpy as np
import pytest
import shim
from conftest import one_line, tiny_arrays, write_folder
from photo_files import write_photos
from scenarios import SCENARIOS, Eval, leftovers
from shim import CHANGING, ERRORS, KILL, KINDS, Fault
from trials import LONG, pick

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("GRAPHCNN_FAULTS_SEED", "1"))
SECONDS = float(os.environ.get("GRAPHCNN_FAULTS_SECONDS", pick(7200, 20)))
TRIAL = os.environ.get("GRAPHCNN_FAULTS_TRIAL")
CRASHING = "model.ckpt.index"  # TensorFlow's NewCheckpointReader crashes if the read of a block of this file fails


class Prepared(NamedTuple):
    """A scenario with its folder before the command, the undisturbed result, and {kind: number of calls}."""

    scenario: object
    initial: object
    expected: object
    counts: dict[str, int]


class Harness:
    """Prepares scenarios and tries faults in them, in one folder.

    Args:
        root: the folder.
    """

    def __init__(self, root):
        self.library, self.work, self._prepared, self._root = shim.build(root), root / "work", {}, root
        x, y = tiny_arrays(60, side=8)
        x_test, y_test = tiny_arrays(12, side=8, seed=1)
        write_folder(root / "shared" / "data", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
        photos = write_photos(root / "shared" / "photos", rows=4)
        (photos / "owl" / "99.png").write_bytes(b"not an image")

    def run(self, command, fault=None):
        return shim.run(self.library, self._root, command, fault)

    def prepared(self, kind):
        """Return the Prepared of a scenario class."""
        if kind.name not in self._prepared:
            scenario, initial = kind(self._root / "shared"), self._root / "initial" / kind.name.replace(" ", "-")
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir()

            def run(*command):
                outcome = self.run(command)
                assert outcome.status == 0, outcome.err
                return outcome.counts

            scenario.begin(self.work, run)
            shutil.copytree(self.work, initial, symlinks=True)
            counts = run(*scenario.command(self.work))
            self._prepared[kind.name] = Prepared(scenario, initial, scenario.result(self.work), counts)
            assert not leftovers(self.work)
        return self._prepared[kind.name]

    def draw(self, prepared, generator):
        """Return random faults: an error, a kill, or two kills one after the other."""
        error = generator.choice([*ERRORS, KILL, KILL])
        kills = generator.integers(1, 3) if error == KILL else 1
        kinds = [kind for kind in (CHANGING if error == KILL else KINDS) if prepared.counts[kind]]
        chosen = generator.choice(kinds, kills)
        return [Fault(str(kind), int(generator.integers(1, prepared.counts[kind] + 1)), str(error)) for kind in chosen]

    def trial(self, prepared, faults):
        """Run a command with the faults one after the other, then without a fault.

        Returns:
            (whether a fault happened, a description of what is wrong or "").
        """
        scenario = prepared.scenario
        shutil.rmtree(self.work)
        shutil.copytree(prepared.initial, self.work, symlinks=True)
        fired, wrong = False, ""
        for fault in faults:
            outcome = self.run(scenario.command(self.work), fault)
            fired = fired or outcome.where is not None
            wrong = wrong or self._wrong(prepared, fault, outcome)
            for path in leftovers(self.work):  # a command keeps empty ones for a minute, see replace.YOUNG_SECONDS
                os.utime(path, (0, 0), follow_symlinks=False)
        again = self.run(scenario.command(self.work))
        try:
            if again.status:
                wrong = wrong or f"the repeated command ends with status {again.status}: {again.err}"
            elif scenario.result(self.work) != prepared.expected:
                wrong = wrong or "the repeated command writes other files"
            elif remaining := leftovers(self.work):
                wrong = wrong or f"the repeated command leaves {[path.name for path in remaining]}"
            elif scenario.lost(self.work, prepared.initial, prepared.expected):
                wrong = wrong or "something is lost after the repeated command"
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            wrong = wrong or f"after the repeated command: {error}"
        return fired, wrong

    def _wrong(self, prepared, fault, outcome):
        """Return a description of what is wrong after a fault, or ""."""
        details = f"{fault.kind} of {outcome.where}: status {outcome.status}: {outcome.err}"
        allowed = {0} if outcome.where is None else {*prepared.scenario.statuses}
        if fault.error == KILL:  # a child process may have been killed
            allowed.add(-signal.SIGKILL)
        if fault.kind == "read" and str(outcome.where).endswith(CRASHING):
            allowed.add(-signal.SIGSEGV)
        if outcome.status not in allowed:
            return f"expected a status of {allowed}, {details}"
        if "Traceback" in outcome.err or (outcome.status == 2 and not one_line(outcome.err)):
            return f"expected one line, {details}"
        try:
            lost = prepared.scenario.lost(self.work, prepared.initial, prepared.expected)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            lost = str(error)
        return f"lost: {lost}; {details}" if lost else ""


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    return Harness(tmp_path_factory.mktemp("system_calls").resolve())


def kind_of(faults):
    if faults[0].error != KILL:
        return "a system call fails"
    return "SIGKILL at a system call" if len(faults) == 1 else "SIGKILL at two system calls"


def try_faults(harness, kinds, seconds, tally):
    """Try random faults in the scenarios by turns; every failure is reported.

    Args:
        seconds: time for the trials, without the preparation of the scenarios.
    """
    failures, tried, spent = [], 0, 0.0
    generators = {kind: np.random.default_rng([SEED, number]) for number, kind in enumerate(kinds)}
    print(f"GRAPHCNN_FAULTS_SEED={SEED}")
    for kind in itertools.cycle(kinds):
        if spent > seconds:
            break
        prepared, began = harness.prepared(kind), time.monotonic()
        faults = harness.draw(prepared, generators[kind])
        fired, wrong = harness.trial(prepared, faults)
        spent += time.monotonic() - began
        tally(f"{kind_of(faults)} in {kind.name}, then again", wrong != "", fired, f"GRAPHCNN_FAULTS_SEED={SEED}")
        tried += fired
        if wrong:
            failures.append(f'GRAPHCNN_FAULTS_TRIAL="{kind.name} {" ".join(map(str, faults))}": {wrong}')
            print(failures[-1], flush=True)
    print(f"{tried} trials, {len(failures)} failed")
    assert not failures, f"GRAPHCNN_FAULTS_SEED={SEED}: {len(failures)} of {tried} trials\n" + "\n".join(failures)
    assert tried


def test_a_few_faults(harness, tally):
    """The scenario `eval` alone, which is the fastest."""
    if LONG or TRIAL:
        pytest.skip("part of the long form")
    try_faults(harness, [Eval], 3, tally)


@pytest.mark.slow
@pytest.mark.ci
def test_faults_in_each_scenario(harness, tally):
    if TRIAL:
        pytest.skip("GRAPHCNN_FAULTS_TRIAL is set")
    try_faults(harness, SCENARIOS, SECONDS, tally)


def test_a_given_trial(harness):
    if not TRIAL:
        pytest.skip("GRAPHCNN_FAULTS_TRIAL is not set")
    words = TRIAL.split()
    name, faults = (" ".join(word for word in words if (":" in word) is fault) for fault in (False, True))
    scenarios = {kind.name: kind for kind in SCENARIOS}
    assert name in scenarios, f"{name}: no such scenario, expected one of {', '.join(scenarios)}"
    fired, wrong = harness.trial(harness.prepared(scenarios[name]), list(map(shim.parse_fault, faults.split())))
    assert not wrong
    assert fired, "the command has no such call"
