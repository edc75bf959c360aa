"""Start a new run or resume one: prepare the data, recipe, initial weights and folder, then run the training loop."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from graphcnn.common import paths
from graphcnn.common.errors import InputError, Interrupted, SettingError
from graphcnn.common.progress import say
from graphcnn.config.flags import FOLDERS
from graphcnn.config.named import default_recipe
from graphcnn.config.parse import recipe_from_dict
from graphcnn.config.recipe import Recipe
from graphcnn.config.setting_paths import absolute, recorded_settings
from graphcnn.config.suites import named_recipe
from graphcnn.data import cache, sources
from graphcnn.data.dataset import Dataset
from graphcnn.data.npy import check_test_files
from graphcnn.data.splits import split_dev
from graphcnn.graphs.validate import DataShape, validate
from graphcnn.ops.tf1 import choose_precision
from graphcnn.storage.recorded_data import RecordedData, load_recorded_data, recorded_options
from graphcnn.storage.run import Run
from graphcnn.storage.select_run import all_runs, next_start, unused_run
from graphcnn.training.augmentation_sheet import show_augmentation
from graphcnn.training.loop import fit
from graphcnn.training.recorder import Recorder, SilentRecorder
from graphcnn.training.request import DEV_FRACTION, TrainRequest
from graphcnn.training.run_config import run_config, with_environment
from graphcnn.training.stages import TrainingJob
from graphcnn.training.workers import Workers, workers_from_environment
from graphcnn.weights.loaded import NOT_TRAINED, Origin
from graphcnn.weights.prepare import prepare_initial_weights

FINETUNING = ("finetune_epochs", "finetune_learning_rate")  # settings that --resume may add to a run


def train(request: TrainRequest) -> int:
    """Start or resume the run of a request; return the exit status."""
    workers = workers_from_environment()
    run = None
    if request.run is not None:
        run = Run(request.root, request.run)
    elif request.resume:
        run = next(iter(all_runs(request.root)), None)
    if run and run.exists():
        if request.resume:
            return _resume(request, run, workers)
        if not (request.overwrite or request.show_augmentation):
            raise _exists(run)
    if run and run.lacks_config() and not request.overwrite:
        raise InputError(
            f"{run.config_path}: this file is missing, but the run has checkpoints; restore the file, or replace the "
            "run with --overwrite"
        )
    return _start(request, run, workers)


def _exists(run: Run) -> InputError:
    return InputError(f"--run={run.name}: this run exists; continue it with --resume or replace it with --overwrite")


def _start(request: TrainRequest, run: Run | None, workers: Workers | None) -> int:
    """Train a new run; its default name is <recipe>-<n>."""
    source = request.data or sources.default_source()
    reason = (
        "" if request.data else " (no --data given" + ("; data/ has no x_train.npy)" if source == "digits" else ")")
    )
    say(f"data: {source}{reason}")
    name = request.recipe or default_recipe(source)
    recipe = dataclasses.replace(named_recipe(name).recipe, **request.settings)
    if not request.recipe:
        say(f"recipe: {name} ({named_recipe(name).description})")
    options = sources.DataOptions(recipe.image_size, **request.data_options)
    dataset = sources.load(source, options=options)
    kind = request.dev_split or dataset.dev_split
    fraction = DEV_FRACTION if request.dev_fraction is None else request.dev_fraction
    check_test_files(dataset)
    data = RecordedData(dataset, *split_dev(dataset, request.dev_split, fraction))
    _say_data(data, kind)
    _say_resized(dataset, recipe)
    _say_unused_augmentation(recipe)
    _check(recipe, data, workers)
    if request.show_augmentation:
        return show_augmentation(request.root, recipe, dataset, data.train_rows)
    recipe = _with_precision(recipe)
    values: Mapping[str, np.ndarray] = {}
    origin = None
    if recipe.weights != "none":
        keep = "normalisation" in request.settings
        initial = prepare_initial_weights(
            recipe, dataset.spec, request.root, options.data_cache, keep_normalisation=keep
        )
        recipe, values, origin = initial.recipe, initial.values, dataclasses.asdict(initial.origin)
    job = TrainingJob(recipe, data, values, options.cache_dir, workers)
    _join(job)
    if workers and not workers.chief:
        return _finish(request, job, SilentRecorder(None))
    run = run or unused_run(request.root, name)
    split = {"kind": kind, "fraction": fraction, "train": len(data.train_rows), "dev": len(data.dev_rows)}
    config = run_config(name, recipe, dataset, options, split, origin) | {"started": next_start(request.root)}
    run.refuse_foreign()
    with run.lock():
        if run.exists() and not request.overwrite:
            raise _exists(run)
        run.clear()
        run.create(config, data.dev_rows)
        return _finish(request, job, Recorder(run))


def _with_precision(recipe: Recipe) -> Recipe:
    """Return the recipe with float32 or bfloat16 instead of auto, so that --resume uses the same precision."""
    precision, reason = choose_precision(recipe.precision)
    say(f"precision: {precision} ({reason})")
    return dataclasses.replace(recipe, precision=precision)


def _resume(request: TrainRequest, run: Run, workers: Workers | None) -> int:
    """Continue a run with its recorded recipe, data and split.

    Only its length, patience and folders may differ, and fine-tuning may be added.
    """
    chief = workers is None or workers.chief
    with run.lock() if chief else nullcontext():
        config = run.config()
        if chief:
            run.remove_leftovers()
        recipe = recorded = recipe_from_dict(config["recipe"], run.config_path)
        _refuse_other_settings(request, config, recipe)
        source = request.data or config["data"]["source"]
        say(f"data: {source}{'' if request.data else ' (as the run recorded)'}")
        data = load_recorded_data(run, config, request.data, options=dict(request.data_options))
        _say_data(data, config["split"]["kind"])
        _with_precision(recipe)
        recipe = _with_patience(_with_epochs(recipe, request.settings.get("epochs")), request.settings.get("patience"))
        recipe = _with_finetuning(recipe, request.settings)
        _say_unused_augmentation(recipe)
        _check(recipe, data, workers)
        job = TrainingJob(recipe, data, {}, recorded_options(config, request.data_options).cache_dir, workers)
        _join(job)
        if chief:
            _record_resumption(run, config, recorded, recipe)
        weights = _recorded_weights(request, run, config, job)
        job = dataclasses.replace(job, initial_weights=weights)
        return _finish(request, job, Recorder(run) if chief else SilentRecorder(run))


def _record_resumption(run: Run, config: dict[str, Any], recorded: Recipe, recipe: Recipe) -> None:
    """Write the recipe of a resumed run into its config.json, and the versions and the CPU if they differ.

    Args:
        run: the run.
        config: the content of its config.json.
        recorded: the recipe before this call.
        recipe: the recipe of this call.
    """
    last = run.last_epoch()
    new = config if recipe == recorded else {**config, "recipe": dataclasses.asdict(recipe)}
    same_end = (recipe.patience, recipe.finetune_epochs) == (recorded.patience, recorded.finetune_epochs)
    stays_stopped = last.stopped_early and same_end
    if last.epoch < recipe.all_epochs() and not stays_stopped:
        new, differences = with_environment(new, last.epoch)
        if differences:
            say(
                f"--resume: {'; '.join(differences)}; so the weights may differ from those of an uninterrupted run "
                f"({run.config_path} records the old and the new values)"
            )
    if new != config:
        run.write_config(new)


def _refuse_other_settings(request: TrainRequest, config: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuse a setting that differs from the recorded one, unless a resumed run may change it."""
    given = {**absolute(request.settings), "recipe": request.recipe, "dev_fraction": request.dev_fraction}
    given["dev_split"] = request.dev_split
    recorded = {**recorded_settings(config, dataclasses.asdict(recipe)), "recipe": config["recipe_name"]}
    recorded |= {"dev_fraction": config["split"]["fraction"], "dev_split": config["split"]["kind"]}
    changeable = {"epochs", "patience"} | (set() if recipe.finetune_epochs else set(FINETUNING))
    for name, value in recorded.items():
        new = given.get(name)
        automatic = name == "precision" and new == "auto"
        if new is not None and name not in changeable and not automatic and new != value:
            raise InputError(
                f"--{name}: found {new}, but the run was started with {value}, and --resume cannot change this; drop "
                "the flag or start a new run"
            )


def _with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """Return the recipe with another number of epochs; refuse it if the recipe's steps depend on that number."""
    if epochs in (None, recipe.epochs):
        return recipe
    if recipe.planned():
        raise SettingError(
            "epochs",
            f"found {epochs}, but this run was planned for {recipe.epochs} epochs (its schedule, lookahead, early "
            "size or fine-tuning depends on this number); drop the flag or start a new run",
        )
    return dataclasses.replace(recipe, epochs=epochs)


def _with_patience(recipe: Recipe, patience: int | None) -> Recipe:
    """Return the recipe with another patience; refuse a patience that could have changed the epochs so far."""
    if patience in (None, recipe.patience):
        return recipe
    if recipe.stop_on != "nothing" and (patience < recipe.patience or recipe.finetune_epochs):
        expected = "the same patience, because fine-tuning follows" if recipe.finetune_epochs else "at least as much"
        raise SettingError(
            "patience",
            f"found {patience}, but the run was started with {recipe.patience}, and --resume needs {expected}; drop "
            "the flag or start a new run",
        )
    return dataclasses.replace(recipe, patience=patience)


def _with_finetuning(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a run without fine-tuning with the given settings of fine-tuning.

    The epochs before fine-tuning do not depend on these settings.
    """
    return dataclasses.replace(recipe, **{name: settings[name] for name in FINETUNING if name in settings})


def _recorded_weights(
    request: TrainRequest, run: Run, config: dict[str, Any], job: TrainingJob
) -> Mapping[str, np.ndarray]:
    """Return the initial weights {variable name: array} of a run without a finished epoch; {} for other runs."""
    if job.recipe.weights == "none" or (run.path / "last").is_symlink():
        return {}
    origin = Origin.from_config(config, run.config_path)
    folder = recorded_options(config, request.data_options).data_cache
    return prepare_initial_weights(
        job.recipe, job.dataset.spec, run.root, folder, keep_normalisation=True, recorded=origin
    ).values


def _check(recipe: Recipe, data: RecordedData, workers: Workers | None) -> None:
    """Refuse a recipe that does not fit the net, the data or the number of workers."""
    shape = DataShape(data.dataset.image_shape, data.dataset.classes, len(data.train_rows), len(data.dev_rows))
    validate(recipe, shape, workers.count if workers else 1)


def _join(job: TrainingJob) -> None:
    """Wait for the other workers, if there are any."""
    workers = job.workers
    if workers is None:
        return
    address = workers.addresses[workers.index]
    say(f"worker {workers.index} of {workers.count}, at {address}: waiting for the other workers")
    workers.join(f"{job.recipe} {job.dataset.fingerprint} {job.data.dev_rows.tolist()}")


def _finish(request: TrainRequest, job: TrainingJob, recorder: Recorder) -> int:
    """Train, print the result and the next command; return the exit status."""
    if isinstance(recorder, SilentRecorder):
        try:
            state = fit(job, recorder)
        except Interrupted as stop:
            say("interrupted")
            return 128 + stop.signal
        say(f"finished after epoch {state.epoch}; worker 0 has written the run")
        return 0
    run = recorder.run
    named_run = f"--run={run.name}"
    if run.root != paths.CHECKPOINTS:
        named_run += f" --checkpoints={shlex.quote(str(run.root))}"
    flags = f"{named_run}{_data_flags(request)}"
    try:
        state = fit(job, recorder)
    except Interrupted as stop:
        saved = "the last finished epoch is saved" if (run.path / "last").exists() else "no epoch is finished yet"
        say(f"interrupted; {saved}. Continue with: ./run.sh train {flags} --resume")
        return 128 + stop.signal
    score = "" if state.best_score is None else f", dev macro F1 {state.best_score:.6f}"
    reason = "stopped early" if state.stopped_early else "all epochs done"
    done = f"epoch {state.epoch} and {recorder.training_seconds():.1f} s of training"
    say(f"finished ({reason}) after {done}; best epoch {state.best_epoch}{score}; run folder: {run.path}")
    if score and state.best_epoch == 0:
        say(NOT_TRAINED)
    say(f"next: ./run.sh eval {flags}, or ./run.sh submit {flags}")
    return 0


def _data_flags(request: TrainRequest) -> str:
    """Return the data flags that the user must give again to later commands on the run, for the printed commands.

    They are the given cache folders outside the default one, since a command does not use such a folder only because
    the run recorded it. After --resume, they are all given cache folders and the given --data.
    """
    folders = {name: request.data_options[name] for name in FOLDERS if name in request.data_options}
    values = {name: value for name, value in folders.items() if request.resume or not cache.in_default_folder(value)}
    if request.resume and request.data:
        values["data"] = request.data
    return "".join(f" --{name}={shlex.quote(value)}" for name, value in values.items())


def _say_data(data: RecordedData, kind: str) -> None:
    height, width = data.dataset.image_shape
    dev = f"{len(data.dev_rows):,} dev ({kind})" if len(data.dev_rows) else "no dev split"
    say(f"images: {len(data.train_rows):,} training, {dev}; {height}x{width} pixels, {data.dataset.classes} classes")


def _say_resized(dataset: Dataset, recipe: Recipe) -> None:
    height, width = dataset.image_shape
    if (height, width) != (recipe.image_size, recipe.image_size):
        say(f"images: {height}x{width}, resized in the graph to {recipe.image_size}x{recipe.image_size}")


def _say_unused_augmentation(recipe: Recipe) -> None:
    """Say that the head trains on unchanged images, if the recipe has augmentations that do not reach it."""
    names = ", ".join(f"--{name}" for name in recipe.augmentation())
    if names and not recipe.head_sees_augmentation():
        effect = "acts only in the fine-tuning epochs" if recipe.finetune_epochs else "has no effect"
        say(
            "augmentation: --freeze=backbone with --feature_views=1 trains the head on unchanged images, so the "
            f"augmentation ({names}) {effect}; --feature_views=4 adds three augmented versions of each image"
        )
