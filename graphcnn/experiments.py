"""Train a suite of experiments, each in a process and run folder of its own, and write its report.

./run.sh experiments --suite=ladder --data=DIR                 a report's ladder; call again to go on where it stopped
./run.sh experiments --suite=ladder --only=complex_1,complex_2 --seeds=3 --epochs=20
./run.sh experiments --recipe=fast --sweep="learning_rate=1,1.7 muon_learning_rate=0.06,0.12" --epochs=2
./run.sh experiments --sweep="learning_rate=1e-3,1e-4 keep_prob=0.6,0.8" --budget=60     successive halving, an hour
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphcnn.common.command import child_environment, run_command
from graphcnn.common.errors import InputError, WeightsUnavailable, unknown_name
from graphcnn.common.files import atomic_write, lock
from graphcnn.common.signals import keyboard_interrupt
from graphcnn.config import flags, suites
from graphcnn.config.recipe import ALIASES, Recipe, check_one_name, parse_setting, recipe_from_dict
from graphcnn.config.suite import Experiment, Suite, recipe_of

FEWER = 3  # one in so many of a sweep's experiments goes on to the next rung
LONGER = 3  # times the epochs there
SUFFIXES, SHOWN = (".png", ".jpg", ".jpeg"), 12  # photos that a report shows predictions of


def define_flags():
    """Return this command's flags."""
    values = flags.new_flags()
    flags.define(values, str, "checkpoints", None, "folder of the suites (default: checkpoints/ beside the package)")
    flags.define(values, str, "suite", None, f"{', '.join(suites.SUITES)}; with --sweep a name for its folder")
    flags.define(values, str, "only", None, "train these alone, commas between; the report has all that are done")
    flags.define(values, int, "seeds", 1, "seeds of each experiment, from its recipe's seed on")
    flags.define(values, int, "jobs", 1, "trainings at a time, each on its share of the processors; small nets gain")
    flags.define(values, str, "recipe", "assignment", "what --sweep changes: a named recipe or <suite>/<experiment>")
    flags.define(values, str, "sweep", None, "settings to combine, as 'learning_rate=1e-3,1e-4 keep_prob=0.6,0.8'")
    flags.define(values, float, "budget", None, "minutes of training for a sweep by successive halving")
    flags.define_data(values, "as train's: a folder, cifar10 or digits (default: data/)")
    flags.define(values, float, "dev_fraction", None, "share of the training rows held out (default: the suite's)")
    flags.define(values, str, "dev_split", None, "first | stratified (default: by the data)")
    flags.define_recipe(
        values, "of every experiment; --epochs: of the longest, the others' and patience keep their share"
    )
    return values


@dataclasses.dataclass
class Job:
    """One run of an experiment and how it stands."""

    experiment: str
    recipe: Recipe
    run: Any
    state: str = "waiting"  # then training, scoring; at last done or failed
    epoch: int = 0
    score: float | None = None  # best dev macro F1 of the recipe's epochs so far
    seconds: float = 0.0  # of all epochs so far

    def look(self):
        """Take epoch, score and seconds from the run's history.csv."""
        rows = self.run.history_so_far()
        scores = [row["dev_macro_f1"] for row in rows[: self.recipe.all_epochs()] if row["dev_macro_f1"] is not None]
        self.epoch, self.score = len(rows), max(scores, default=None)
        self.seconds = sum(row["seconds"] for row in rows)


def main(values, positional):
    """Train what is missing and write the report; exit status 1 where an experiment failed."""
    flags.no_positional(positional)
    for flag, most in (("seeds", math.inf), ("jobs", len(_processors()))):
        if not 1 <= values[flag].value <= most:
            top = "" if most == math.inf else f", at most {most} (the processors)"
            raise InputError(f"--{flag}: found {values[flag].value}, expected a whole number at least 1{top}")
    if values.budget is not None and not (values.sweep and values.budget > 0):
        raise InputError(f"--budget: found {values.budget:g}, expected minutes above 0, and a --sweep to spend them on")
    if values.dev_split not in (None, "first", "stratified"):
        raise InputError(f"--dev_split: {unknown_name(values.dev_split, ['first', 'stratified'])}")
    name, suite = _suite(values) if values.sweep is None else _sweep(values)
    only = _only(values, suite)
    recipe_of = {row: _recipe(values, suite, row) for row in suite.experiments}
    random = _without_weights({recipe_of[row].net for row in only if recipe_of[row].weights == "imagenet"}, values)

    work = Work(values, name, suite, sorted({recipe.image_size for recipe in recipe_of.values()}), random)
    busy = f"--suite={name}: another training is writing {work.folder}; wait for it"
    try:
        with lock(work.folder / ".lock", busy), keyboard_interrupt():
            if values.budget is None:
                failed = work.train([work.job(row, recipe_of[row], n) for n in range(values.seeds) for row in only])
            else:
                chosen = {row: recipe_of[row] for row in only}
                failed = _halve(work, chosen, 60 * values.budget, values.seeds)
                recipe_of |= chosen
            failed += work.report(recipe_of, _command(values))
    except KeyboardInterrupt:
        from graphcnn.common.progress import say

        say(f"interrupted; finished epochs are saved. Continue with: {_command(values, places=True)}")
        return 130
    return 1 if failed else 0


def _suite(values):
    """Return (name, Suite) of --suite."""
    if values.suite not in suites.SUITES:
        said = unknown_name(values.suite, list(suites.SUITES)) if values.suite else "name one, or use --sweep"
        raise InputError(f"--suite: {said}")
    if values["recipe"].present:
        raise InputError("--recipe: is for --sweep; a suite's experiments are recipes themselves")
    return values.suite, suites.SUITES[values.suite]


def _sweep(values):
    """Return (name, Suite) of --sweep: an experiment for each combination of the settings."""
    base, settings = suites.named_recipe(values.recipe), {}
    for part in values.sweep.split():
        field, _, texts = part.partition("=")
        name = ALIASES.get(field, field)
        if field in settings or not texts:
            raise InputError(f"--sweep: found {part!r}, expected setting=value,value,… once for each setting")
        if (name in values and values[name].present) or (field == "epochs" and values.budget is not None):
            raise InputError(f"--sweep: {field} is set by --{field} or --budget too; drop one of them")
        settings[field] = {text: parse_setting(field, text, "--sweep") for text in texts.split(",")}
    check_one_name(settings, "--sweep: ")
    if not settings:
        raise InputError("--sweep: found no setting, expected setting=value,value,…")
    experiments = {}
    for texts in itertools.product(*settings.values()):
        said = [f"{field}={text}" for field, text in zip(settings, texts, strict=True)]
        change = {ALIASES.get(field, field): settings[field][text] for field, text in zip(settings, texts, strict=True)}
        row = re.sub(r"[^A-Za-z0-9._-]", "-", "_".join(said).replace("+", ""))
        experiments[row] = Experiment(description=", ".join(said), change=change)
    name = values.suite or f"sweep-{values.recipe.replace('/', '-')}"
    if name in suites.SUITES or not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise InputError(f"--suite={name}: is no name for a sweep's folder; expected letters, digits, '.', '_', '-'")
    source = f"a sweep over {values.sweep}, of {values.recipe}: {base.description}"
    return name, Suite(source=source, unit="", base=base.recipe, dev_fraction=0.25, experiments=experiments)


def _only(values, suite):
    """Return the names of the experiments to train."""
    names = list(dict.fromkeys(values.only.split(","))) if values.only else list(suite.experiments)
    for name in names:
        if name not in suite.experiments:
            raise InputError(f"--only: {unknown_name(name, list(suite.experiments))}")
    return names


def _recipe(values, suite, name):
    """Return the experiment's Recipe with the given flags.

    --epochs is what the longest experiment gets; the others, and patience, keep their share. Falling rates and early
    sizes follow, being shares of a run's steps; warm-up steps stay.
    """
    given = flags.given_recipe_fields(values)
    if given.get("epochs", 1) < 1:
        raise InputError(f"--epochs: found {given['epochs']}, expected a whole number at least 1")
    try:
        recipe = recipe_of(suite, name)
        if "epochs" in given:
            share = given.pop("epochs") / max(recipe_of(suite, row).epochs for row in suite.experiments)
            fields = ["epochs"] + ["finetune_epochs"] * (recipe.finetune_epochs > 0)
            fields += ["patience"] * (recipe.stop_on != "nothing" and recipe.patience > 0)
            given = {field: max(1, round(share * getattr(recipe, field))) for field in fields} | given
        return dataclasses.replace(recipe, **given)
    except InputError as error:
        raise InputError(f"{name}: {error.as_flags()}") from None


def _without_weights(nets, values):
    """Return those of the nets whose published weights cannot be had, and say why."""
    if not nets:
        return set()
    from graphcnn.common.progress import say
    from graphcnn.weights.published import published_file

    random = set()
    for net in sorted(nets):
        try:
            published_file(net, values.data_cache)
        except WeightsUnavailable as error:
            random.add(net)
            say(f"{net}: no published weights ({error}); runs not begun yet begin at random, as the report will say")
    return random


def _random(recipe):
    """Return the Recipe with random weights in published ones' place."""
    return dataclasses.replace(recipe, weights="none") if recipe.weights == "imagenet" else recipe


def _command(values, places=False):
    """Return the command line that was given, DIR standing for folders unless `places`."""
    from graphcnn.data.sources import NAMES

    words = ["./run.sh", "experiments"]
    for flag in sorted(values):
        text = str(values[flag].value)
        if values[flag].present and (places or flag not in ("checkpoints", "data_cache", "cache_dir")):
            hidden = flag == "data" and text not in NAMES and not places
            words.append(f"--{flag}={'DIR' if hidden else shlex.quote(text)}")
    return " ".join(words)


def _halve(work, recipe_of, budget, seeds):
    """Train a sweep by successive halving within `budget` seconds of epochs; return what failed.

    All for some epochs, the best third for three times as many, and so on to the last one, which gets the recipe's
    epochs, or nearly, where the budget allows. recipe_of: {experiment: Recipe}; left with the epochs that each got.
    """
    from graphcnn.common.progress import say

    counts = [len(recipe_of)]
    while counts[-1] > 1:
        counts.append(math.ceil(counts[-1] / FEWER))
    spans = [LONGER**n for n in range(len(counts))]
    full = next(iter(recipe_of.values())).epochs

    def rung(rows, epochs):
        for row in rows:
            recipe_of[row] = dataclasses.replace(recipe_of[row], epochs=min(epochs, full))
        return [work.job(row, recipe_of[row], n) for n in range(seeds) for row in rows]

    key = [{row: dataclasses.asdict(recipe) for row, recipe in recipe_of.items()}, budget, seeds, work.fingerprints]
    key = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    first = work.remembered(key)
    if first is None:  # from the time of one epoch
        probes = (rung([row], 1)[0] for row in list(recipe_of))
        probe = next((job for job in probes if not work.train([job])), None)
        if probe is None:
            return list(recipe_of)
        done = [0] * len(spans) if probe.recipe.planned() else [0, *spans]
        epochs = seeds * sum(count * (span - old) for count, span, old in zip(counts, spans, done, strict=False))
        tuned = seeds * sum(counts) * probe.recipe.finetune_epochs
        affordable = budget * probe.epoch / probe.seconds - tuned
        first = max(1, min(full // spans[-1], int(affordable / epochs)))
        work.remember(key, first)
    rows, failed = list(recipe_of), []
    for n, count in enumerate(counts):
        jobs = rung(rows[:count], first * spans[n])
        say(f"rung {n + 1}/{len(counts)}: {len(rows[:count])} experiments for {jobs[0].recipe.epochs} epochs")
        failed += work.train(jobs, budget)
        scores = {row: [job.score for job in jobs if job.experiment == row and job.state == "done"] for row in rows}
        rows = sorted((row for row in rows if scores[row]), key=lambda row: -sum(scores[row]) / len(scores[row]))
        if any(job.state == "waiting" for job in jobs):
            say(f"the budget of {budget / 60:g} minutes is spent")
            break
        if not rows:
            break
    return failed


class Work:
    """A suite's folder, the data its experiments share, and the processes that train and score them."""

    def __init__(self, values, name, suite, sides, random=frozenset()):
        from graphcnn.common.progress import say
        from graphcnn.data import sources
        from graphcnn.data.splits import split_dev

        self.random = random  # nets without published weights
        self.name, self.suite, self.root = name, suite, flags.checkpoints_root(values)
        self.folder = self.root / name
        if (self.folder / "config.json").exists():
            raise InputError(f"--suite={name}: {self.folder} is a single run; delete or rename it")
        source = values.data or sources.default_source()
        fraction = suite.dev_fraction if values.dev_fraction is None else values.dev_fraction
        if fraction == 0:
            raise InputError("--dev_fraction: found 0, expected a share above 0: the dev split compares experiments")
        options = flags.given_options(values)
        dataset = sources.load(source, options=sources.DataOptions(sides[0], **options))
        self.split = {"kind": values.dev_split or dataset.dev_split, "fraction": fraction}
        train_rows, dev_rows = split_dev(dataset, **self.split)
        self.tested = dataset.has_test_labels
        photos = self.tested and Path(dataset.file("x_train")).is_dir()
        self.photos = Path(source).resolve() if photos else None
        self.fingerprints = {sides[0]: dataset.fingerprint}
        for side in sides[1:]:  # a folder of images is decoded at each size
            self.fingerprints[side] = sources.load(source, options=sources.DataOptions(side, **options)).fingerprint
        self.place = [f"--data={source}", *(f"--{flag}={value}" for flag, value in options.items())]
        self.start = ["--dev_fraction=" + repr(fraction), f"--dev_split={self.split['kind']}"]
        self.recipe = None if values.sweep is None else values.recipe
        self.rows = f"{len(train_rows):,} training, {len(dev_rows):,} dev rows ({self.split['kind']})"
        self.seconds = {}  # {run's name: seconds of its epochs so far}
        self.cores = _shares(values.jobs)
        self.running, self.stopped, self.turn = set(), False, threading.Lock()
        say(f"suite {name}: {self.suite.source}")
        say(f"data: {source}, {self.rows}")

    def job(self, experiment, recipe, n):
        """Return the Job of the experiment's n-th seed; planned courses of several lengths have a run each."""
        from graphcnn.storage.run import Run

        recipe = dataclasses.replace(recipe, seed=recipe.seed + n)
        length = f"-epochs{recipe.epochs}" if recipe.planned() else ""
        return Job(experiment, recipe, Run(self.root, f"{self.name}/{experiment}-seed{recipe.seed}{length}"))

    def standing(self, job):
        """Return (done, resume or anew; why) for a job as its folder tells."""
        run = job.run
        if not run.exists():
            return "resume", ""
        try:
            config = run.config()
            recorded = recipe_from_dict(config["recipe"], run.config_path)
        except InputError as error:
            return "anew", str(error)
        wanted = job.recipe
        if wanted.precision == "auto":
            wanted = dataclasses.replace(wanted, precision=recorded.precision)
        if wanted.stop_on == recorded.stop_on == "nothing":
            wanted = dataclasses.replace(wanted, patience=recorded.patience)
        old, new = dataclasses.asdict(recorded), dataclasses.asdict(wanted)
        changed = [f"{key} was {old[key]}, is now {new[key]}" for key in new if new[key] != old[key]]
        if config["data"]["fingerprint"] != self.fingerprints[wanted.image_size]:
            changed.append("the data changed")
        if {key: config["split"][key] for key in self.split} != self.split:
            changed.append("the dev split changed")
        lengths = {**old, "epochs": new["epochs"]} == new and len(changed) == 1
        if changed and not (lengths and not wanted.planned()):
            return "anew", "; ".join(changed)
        epoch, stopped = run.last_epoch()
        if epoch >= wanted.all_epochs() or stopped:
            return "done", f"has {epoch} epochs, is kept" if changed else ""
        return "resume", changed[0] if changed else f"continues after epoch {epoch}" if epoch else ""

    def train(self, jobs, budget=None):
        """Train and score the jobs that are not done, self.cores at a time; return those that failed.

        budget: seconds of epochs of all jobs so far, from which on none is begun; such jobs stay "waiting".
        """
        from graphcnn.common.progress import format_duration, say

        began, coming = time.monotonic(), iter(jobs)
        for job in jobs:
            job.look()

        def work(cores):
            if cores:
                os.sched_setaffinity(0, cores)  # of this thread and of the processes it starts
            while True:
                with self.turn:
                    spent = budget is not None and sum(self.seconds.values()) >= budget
                    job = None if self.stopped or spent else next(coming, None)
                if job is None:
                    return
                self._do(job, jobs, show)

        threads = ThreadPoolExecutor(len(self.cores))
        with _board(jobs, len(self.cores)) as show:
            try:
                working = [threads.submit(work, cores) for cores in self.cores]
                for each in wait(working, return_when=FIRST_EXCEPTION).done:
                    each.result()
            except BaseException:
                self.stop()  # train then finishes its step, says how to go on and ends
                try:
                    threads.shutdown()
                except KeyboardInterrupt:
                    self.stop()  # once more: at once
                raise
            finally:
                threads.shutdown()
        done, seconds = sum(job.state == "done" for job in jobs), time.monotonic() - began
        say(f"{done} of {len(jobs)} done in {format_duration(seconds)}")
        return [job for job in jobs if job.state == "failed"]

    def stop(self):
        """Begin no more jobs and end the processes that run."""
        with self.turn:
            self.stopped = True
            for process in self.running:
                process.terminate()

    def _do(self, job, jobs, show):
        """Train and score one job as far as it is not done; its state is then done or failed."""
        from graphcnn.common.progress import say

        standing, why = self.standing(job)
        begun = standing == "resume" and (job.run.path / "last").exists()  # needs the published file no more
        if standing != "done" and not begun and job.recipe.net in self.random:
            job.recipe = _random(job.recipe)
            standing, why = self.standing(job)
        error = self._finish(job, standing, why, show)
        if error and standing != "anew" and _spoilt(job.run, error):
            error = self._finish(job, "anew", error, show)
        if self.stopped:
            return
        job.look()
        with self.turn:
            self.seconds[job.run.name] = job.seconds
        job.state = "done" if error is None else "failed"
        if error is not None:
            say(f"{job.run.name}: failed: {error}; the suite goes on (all it said: {self._log(job)})")
        elif standing != "done":
            left = _left(jobs, len(self.cores))
            say(f"{job.run.name}: done, {job.epoch} epochs, best dev macro F1 {job.score:.4f}, {left}")
        show()

    def _finish(self, job, standing, why, show):
        """Train and score a job as it stands; return None, or how it failed."""
        from graphcnn.common.progress import say

        if why:
            say(f"{job.run.name}: {why}{'; trained anew' if standing == 'anew' else ''}")
        error = None if standing == "done" else self._train(job, standing, show)
        if error is None and self.scored(job.run) is None:
            error = self._score(job, show)
            if error is None and self.scored(job.run) is None:
                error = f"{job.run.path}: its history or its scores are damaged"
        return error

    def scored(self, run):
        """Return report.finished of the run; None where its best epoch is not scored on each split that is there."""
        from graphcnn.sweeps import report

        try:
            found = report.finished(run)
        except (InputError, OSError, ValueError, KeyError, TypeError):
            return None
        return None if found and self.tested and found["test_accuracy"] is None else found

    def _train(self, job, standing, show):
        """Run `train` for the job; return None, or how it failed."""
        fields = [f"--{name}={value}" for name, value in dataclasses.asdict(job.recipe).items()]
        name = f"--recipe={self.recipe or f'{self.name}/{job.experiment}'}"
        how = [name, "--overwrite"] if standing == "anew" else ["--resume"] if job.run.exists() else [name, "--resume"]
        job.state = "training"
        return self._child(job, "train", [*self.start, *how, *fields], show)

    def _score(self, job, show):
        """Run `eval` on the job's best epoch; return None, or how it failed."""
        job.state = "scoring"
        return self._child(job, "eval", ["--split=train,dev" + ",test" * self.tested], show)

    def _log(self, job):
        return self.root / f"{job.run.name}.log"

    def _child(self, job, command, arguments, show):
        """Run a command for the job's run in a process of its own; return None, or its last line where it failed."""
        from graphcnn.common.progress import console, say

        self._wait(job.run)
        show()
        words = [sys.executable, "-m", f"graphcnn.{command}", f"--run={job.run.name}", f"--checkpoints={self.root}"]
        with self._log(job).open("a") as log:
            with self.turn:
                if self.stopped:
                    return "interrupted"
                process = subprocess.Popen(
                    [*words, *self.place, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                    errors="replace", start_new_session=True,  # Ctrl-C reaches this process alone
                    env=child_environment(),
                )  # fmt: skip
                self.running.add(process)
            last = ""
            for line in process.stdout:
                log.write(line)
                log.flush()
                last = line.strip() or last
                if command == "train" and line.startswith("epoch"):
                    job.look()
                    show()
                    if not console.is_terminal:
                        say(f"{job.run.name}: {line.strip()}")
            process.stdout.close()
            status = process.wait()
            with self.turn:
                self.running.discard(process)
        return None if status == 0 else f"{command} ended with status {status}: {last}"

    def _wait(self, run):
        """Wait while a training that outlived an earlier call of this command is still writing the run."""
        from graphcnn.common.progress import say

        said = False
        while not self.stopped:
            try:
                with run.lock():
                    return
            except InputError:
                said or say(f"{run.name}: another process is still training it; waiting for its epoch to end")
                said = True
                time.sleep(0.5)

    def remembered(self, key):
        """Return the epochs of a halving's first rung that an earlier call with the same key fixed, or None."""
        try:
            kept = json.loads((self.folder / ".halving.json").read_text(encoding="utf-8"))
            return kept["first_epochs"] if kept["of"] == key and kept["first_epochs"] >= 1 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, key, first):
        """Fix that number, so that a call that goes on does the same."""

        with atomic_write(self.folder / ".halving.json") as file:
            file.write(json.dumps({"of": key, "first_epochs": first}).encode())

    def _ensembles(self, results, failed):
        """Return a row for the report for each of the suite's ensembles whose members are finished, scored by eval.

        Those that eval could not score go to the list `failed`.
        """
        from graphcnn.common.progress import say
        from graphcnn.storage.select_run import ensemble_folder

        rows = []
        for ensemble in self.suite.ensembles:
            if not set(ensemble.members) <= set(results):
                continue
            names = [results[member][0]["run"] for member in ensemble.members]
            splits, folder = ["dev"] + ["test"] * self.tested, ensemble_folder(self.root, names)
            files = [folder / f"{split}.json" for split in splits]
            newest = max((self.root / name / "report" / "dev.json").stat().st_mtime_ns for name in names)
            if not all(map(functools.partial(_scores_means, newest), files)):
                say(f"ensemble: {ensemble.description}")
                words = [f"--run={','.join(names)}", f"--checkpoints={self.root}", f"--split={','.join(splits)}"]
                words = [sys.executable, "-m", "graphcnn.eval", *words, *self.place]
                done = subprocess.run(words, env=child_environment(), capture_output=True, text=True, check=False)
                if done.returncode:
                    say(f"ensemble: {ensemble.description}: failed: {done.stderr.strip()}")
                    failed.append(ensemble.description)
                    continue
            scores = {split: json.loads(file.read_text()) for split, file in zip(splits, files, strict=True)}
            row = {"ensemble": ensemble.description, "members": list(ensemble.members), "published": ensemble.published}
            row |= {f"{split}_{key}": scores[split][key] for split in splits for key in ("accuracy", "macro_f1")}
            best = max(scores["dev"]["members"], key=lambda member: member["macro_f1"])
            rows.append({**row, "best_member": best["run"], "best_member_dev_macro_f1": best["macro_f1"]})
        return rows

    def _predictions(self, run):
        """Return what `predict` prints for some photos of the test split, two a class at most."""
        words = [sys.executable, "-m", "graphcnn.predict", f"--run={run.name}", f"--checkpoints={self.root}"]
        where = {"cwd": self.photos, "env": child_environment(), "capture_output": True, "text": True, "check": False}
        files = [
            file.relative_to(self.photos).as_posix()
            for folder in sorted(path for path in (self.photos / "test").iterdir() if path.is_dir())
            for file in [each for each in sorted(folder.iterdir()) if each.suffix.lower() in SUFFIXES][:2]
        ]
        return subprocess.run([*words, *files[:SHOWN]], **where).stdout.splitlines()

    def report(self, recipe_of, command):
        """Write the report of all finished runs of these recipes, whatever their seed, and print it.

        Returns: the names of ensembles that could not be scored.
        """
        from graphcnn.common.progress import say
        from graphcnn.sweeps import report

        results, longer = {}, []
        for row, recipe in recipe_of.items():
            pattern, found = re.compile(re.escape(row) + r"-seed(\d+)(-epochs\d+)?"), []
            for path in self.folder.glob(f"{row}-seed*"):
                match = pattern.fullmatch(path.name)
                if match and int(match[1]) >= recipe.seed:
                    for kind in dict.fromkeys((recipe, _random(recipe))):  # the call that trained it may have had none
                        job = self.job(row, kind, int(match[1]) - recipe.seed)
                        if job.run.path == path and self.standing(job)[0] == "done":
                            found.append((int(match[1]), self.scored(job.run)))
                            break
            found = [result for _, result in sorted(found, key=lambda each: each[0]) if result]
            results |= {row: found} if found else {}
            longer += [row] * any(result["epochs"] > recipe.all_epochs() for result in found)
        failed = []
        if not results:
            for name in ("report.md", "report.json", "report.png"):
                (self.folder / name).unlink(missing_ok=True)
            say("no experiment is finished; no report")
            return failed
        summary = {"suite": self.name, "command": command, "data": self.rows, **report.summary(self.suite, results)}
        best = report.best_of(summary)
        seed = results[best][0]["seed"] - recipe_of[best].seed
        predictions = self.photos and self._predictions(self.job(best, recipe_of[best], seed).run)
        summary |= {"longer": longer, "predictions": predictions, "ensembles": self._ensembles(results, failed)}
        report.write(self.folder, summary, results)
        say((self.folder / "report.md").read_text(encoding="utf-8"))
        say(f"written: {self.folder}/report.md, report.json, report.png")
        return failed


def _scores_means(newest, file):
    """Whether a file that eval wrote is of plain means of outputs, and younger than that time in nanoseconds."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return file.stat().st_mtime_ns > newest and found["ensemble"] == "mean" and not found["tta"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _spoilt(run, error):
    """Whether an error line is about the run's own files, so that nothing can go on from them: not about its data."""
    return f"{run.path}" in error and any(word in error for word in ("damaged", "missing", "--overwrite"))


def _shares(jobs):
    """Return for each of the trainings at a time the processors that it may use; None: all there are."""
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        return [None] * jobs
    cores, share = _processors(), len(_processors()) // jobs
    return [set(cores[n * share : (n + 1) * share]) for n in range(jobs)]


def _processors():
    """Return the numbers of the processors that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _left(jobs, at_once):
    """Return "left h:mm:ss": the epochs that are missing, at the pace of the experiment's or of all known epochs."""
    from graphcnn.common.progress import format_duration

    paces = {}
    for job in jobs:
        if job.epoch:
            paces.setdefault(job.experiment, []).append(job.seconds / job.epoch)
    if not paces:
        return "left ?"
    overall = sum(map(sum, paces.values())) / sum(map(len, paces.values()))
    missing = 0.0
    for job in jobs:
        if job.state not in ("done", "failed"):
            known = paces.get(job.experiment)
            missing += max(0, job.recipe.all_epochs() - job.epoch) * (sum(known) / len(known) if known else overall)
    return f"left {format_duration(missing / at_once)}"


@contextmanager
def _board(jobs, at_once):
    """Yield show(), which renews a live table of the jobs on a terminal; in a log it does nothing."""
    from rich.live import Live
    from rich.table import Table

    from graphcnn.common.progress import console

    def table():
        done = sum(job.state == "done" for job in jobs)
        drawn = Table("experiment", "seed", "state", caption=f"{done} of {len(jobs)} done, {_left(jobs, at_once)}")
        for title in ("epoch", "best dev macro F1", "seconds"):
            drawn.add_column(title, justify="right")
        room = max(1, console.height - 6)  # left out: those done first, those that come last
        started = [job for job in jobs if job.state != "waiting"]
        waiting = [job for job in jobs if job.state == "waiting"]
        for job in [*started, *waiting][max(0, len(started) - room) :][:room]:
            score = "" if job.score is None else f"{job.score:.4f}"
            epoch = f"{job.epoch}/{job.recipe.all_epochs()}" if job.epoch else ""
            seed, seconds = str(job.recipe.seed), f"{job.seconds:.0f}" if job.seconds else ""
            drawn.add_row(job.experiment, seed, job.state, epoch, score, seconds)
        return drawn

    if not console.is_terminal:
        yield lambda: None
        return
    with Live(table(), console=console, auto_refresh=False) as live:
        yield lambda: live.update(table(), refresh=True)


if __name__ == "__main__":
    sys.exit(run_command("experiments", __doc__, define_flags(), main))
