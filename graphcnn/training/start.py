"""Start a new run or resume one: prepare the data, recipe, initial weights and folder, then run the training loop."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common import paths
from graphcnn.common.errors import InputError, Interrupted, SettingError
from graphcnn.common.progress import say
from graphcnn.config.flags import FOLDERS, OWN_NET
from graphcnn.config.named import default_recipe
from graphcnn.config.parse import recipe_from_dict
from graphcnn.config.recipe import Recipe
from graphcnn.config.setting_paths import absolute, recorded_settings
from graphcnn.config.suites import named_recipe
from graphcnn.data import cache, sources
from graphcnn.data.arrays import check_test_files
from graphcnn.data.class_weights import class_weights, unequal_classes
from graphcnn.data.dataset import Dataset
from graphcnn.data.duplicates import leak_warning
from graphcnn.data.labels import mapping_text
from graphcnn.data.split_images import splits_of
from graphcnn.data.splits import split_dev, split_settings
from graphcnn.evaluation.dev_score import score_best
from graphcnn.graphs.validate import DataShape, has_batch_norm, validate
from graphcnn.nets.own import load_net
from graphcnn.ops.tf1 import choose_precision
from graphcnn.storage.recorded_data import RecordedData, load_recorded_data, recorded_options
from graphcnn.storage.recorded_net import check_net
from graphcnn.storage.run import Run
from graphcnn.storage.select_run import all_runs, next_start, unused_run
from graphcnn.training.advice import better_recipe, next_commands
from graphcnn.training.augmentation_sheet import show_augmentation
from graphcnn.training.loop import fit
from graphcnn.training.recorder import Recorder, SilentRecorder
from graphcnn.training.request import TrainRequest
from graphcnn.training.run_config import run_config, with_environment
from graphcnn.training.stages import TrainingJob
from graphcnn.training.state import TrainingState
from graphcnn.training.workers import Workers, workers_from_environment
from graphcnn.weights.loaded import NOT_TRAINED, Origin
from graphcnn.weights.prepare import prepare_initial_weights

FINETUNING = ("finetune_epochs", "finetune_learning_rate", "freeze_batch_norm")  # settings of fine-tuning


class Trained(NamedTuple):
    """How a call of `train` ended.

    Attributes:
        status: the exit status; 128 + the number of the signal if the training was interrupted.
        run: the run; None if nothing was trained, or on a worker that is not the chief.
    """

    status: int
    run: Run | None = None


def train(request: TrainRequest) -> Trained:
    """Start or resume the run of a request. If it names a net in a Python file, this file is executed."""
    if OWN_NET.fullmatch(request.settings.get("net", "")):
        net = load_net(request.settings["net"])
        request = dataclasses.replace(request, settings={**request.settings, "net": net})
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


def _start(request: TrainRequest, run: Run | None, workers: Workers | None) -> Trained:
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
    split = split_settings(dataset, request.dev_split, request.dev_fraction)
    if not request.recipe:
        say(*better_recipe(dataset, request.settings))
    data = RecordedData(dataset, *split_dev(dataset, request.dev_split, split["fraction"]))
    _say_data(data, split["kind"])
    say(*filter(None, [leak_warning(splits_of(check_test_files(dataset), data.train_rows, data.dev_rows))]))
    _say_resized(dataset, recipe)
    _check(recipe, data, workers)
    _say_unused_settings(recipe)
    labels = dataset.y_train[data.train_rows]
    weights = class_weights(recipe.class_weights, labels, dataset.class_names)
    if recipe.class_weights == "none" and recipe.sampling == "shuffle":
        say(*filter(None, [unequal_classes(labels, dataset.class_names)]))
    if request.show_augmentation:
        return Trained(show_augmentation(request.root, recipe, dataset, data.train_rows))
    recipe = _with_precision(recipe)
    values: Mapping[str, np.ndarray] = {}
    origin = None
    if recipe.weights != "none":
        keep = "normalisation" in request.settings
        initial = prepare_initial_weights(
            recipe, dataset.spec, request.root, options.data_cache, keep_normalisation=keep
        )
        recipe, values, origin = initial.recipe, initial.values, dataclasses.asdict(initial.origin)
    job = TrainingJob(recipe, data, values, options.cache_dir, workers, weights)
    _join(job)
    if workers and not workers.chief:
        return _finish(request, job, SilentRecorder(None))
    run = run or unused_run(request.root, name)
    split |= {"train": len(data.train_rows), "dev": len(data.dev_rows)}
    config = run_config(name, recipe, dataset, options, split, origin) | {"started": next_start(request.root)}
    config["class_weights"] = None if weights is None else weights.tolist()
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


def _resume(request: TrainRequest, run: Run, workers: Workers | None) -> Trained:
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
        check_net(run.name, config, recipe, request.allow_changed_net)
        source = request.data or config["data"]["source"]
        say(f"data: {source}{'' if request.data else ' (as the run recorded)'}")
        data = load_recorded_data(run, config, request.data, options=dict(request.data_options))
        _say_data(data, config["split"]["kind"])
        _with_precision(recipe)
        recipe = _with_patience(_with_epochs(recipe, request.settings.get("epochs")), request.settings.get("patience"))
        recipe = _with_finetuning(recipe, request.settings)
        _check(recipe, data, workers)
        _say_unused_settings(recipe)
        cache_dir, weights = recorded_options(config, request.data_options).cache_dir, config.get("class_weights")
        job = TrainingJob(recipe, data, {}, cache_dir, workers, weights and np.array(weights))
        _join(job)
        if chief:
            _record_resumption(run, config, recorded, recipe)
        job = dataclasses.replace(job, initial_weights=_recorded_weights(request, run, config, job))
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
    given |= {"dev_split": request.dev_split, "fit": request.data_options.get("fit")}
    recorded = {**recorded_settings(config, dataclasses.asdict(recipe)), "recipe": config["recipe_name"]}
    recorded |= {"dev_fraction": config["split"]["fraction"], "dev_split": config["split"]["kind"]}
    recorded["fit"] = recorded_options(config, {}).fit
    changeable = {"epochs", "patience", *_addable(recipe)}
    for name, value in recorded.items():
        new = given.get(name)
        automatic = name == "precision" and new == "auto"
        if new is not None and name not in changeable and not automatic and new != value:
            raise InputError(
                f"--{name}: found {new}, but the run was started with {value}, and --resume cannot change this; drop "
                "the flag or start a new run"
            )


def _addable(recipe: Recipe) -> set[str]:
    """Return the settings of fine-tuning that --resume may add to a run: no epoch so far depends on them."""
    if recipe.finetune_epochs:
        return set()
    return set(FINETUNING) - (set() if recipe.freeze == "backbone" else {"freeze_batch_norm"})


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
    """Return the recipe of a run without fine-tuning with the given settings of fine-tuning."""
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


def _finish(request: TrainRequest, job: TrainingJob, recorder: Recorder) -> Trained:
    """Train, print the result and the next command."""
    if isinstance(recorder, SilentRecorder):
        try:
            state = fit(job, recorder)
        except Interrupted as stop:
            say("interrupted")
            return Trained(128 + stop.signal)
        say(f"finished after epoch {state.epoch}; worker 0 has written the run")
        return Trained(0)
    run = recorder.run
    run_flags, data_flags = f"--run={run.name}", _data_flags(request)
    if run.root != paths.CHECKPOINTS:
        run_flags += f" --checkpoints={shlex.quote(str(run.root))}"
    try:
        state = fit(job, recorder)
    except Interrupted as stop:
        saved = "the last finished epoch is saved" if (run.path / "last").exists() else "no epoch is finished yet"
        say(f"interrupted; {saved}. Continue with: {paths.PROGRAM} train {run_flags}{data_flags} --resume")
        return Trained(128 + stop.signal, run)
    score = ""
    if state.best_score is not None:
        score = f", {score_best(run, job.data, state.best_epoch, state.best_score).text()}"
    reason = "stopped early" if state.stopped_early else "all epochs done"
    done = f"epoch {state.epoch} and {recorder.training_seconds():.1f} s of training"
    say(f"finished ({reason}) after {done}; best epoch {state.best_epoch}{score}; run folder: {run.path}")
    if score and state.best_epoch == 0:
        say(NOT_TRAINED)
    _say_useless_finetuning(job.recipe, state, recorder)
    say(*next_commands(job.dataset, len(job.data.dev_rows) > 0, run_flags, data_flags))
    return Trained(0, run)


def _say_useless_finetuning(recipe: Recipe, state: TrainingState, recorder: Recorder) -> None:
    """Say if no fine-tuning epoch has a higher dev macro F1 than the best epoch before fine-tuning."""
    before = state.frozen_epochs
    if before is None or state.best_score is None or state.best_epoch > before:
        return
    tuned = max(recorder.history[before:], key=lambda row: row["dev_macro_f1"] or 0.0)
    moving = has_batch_norm(recipe) and not recipe.freeze_batch_norm
    advice = "; --freeze_batch_norm may help in a new run" if moving else ""
    say(
        f"fine-tuning did not improve the dev macro F1: {state.best_score:.6f} before it (epoch {state.best_epoch}), "
        f"at most {tuned['dev_macro_f1']:.6f} in it (epoch {tuned['epoch']}){advice}"
    )


def _data_flags(request: TrainRequest) -> str:
    """Return the data flags that the user must give again to later commands on the run, for the printed commands.

    They are the given cache folders outside the default one, since a command does not use such a folder only because
    the run recorded it. After --resume, they are all given cache folders, and the given --data and --label_file.
    """
    folders = {name: request.data_options[name] for name in FOLDERS if name in request.data_options}
    values = {name: value for name, value in folders.items() if request.resume or not cache.in_default_folder(value)}
    if request.resume and request.data:
        values["data"] = request.data
    if request.resume and "label_file" in request.data_options:
        values["label_file"] = request.data_options["label_file"]
    return "".join(f" --{name}={shlex.quote(value)}" for name, value in values.items())


def _say_data(data: RecordedData, kind: str) -> None:
    height, width = data.dataset.image_shape
    dev = f"{len(data.dev_rows):,} dev ({kind})" if len(data.dev_rows) else "no dev split"
    say(f"images: {len(data.train_rows):,} training, {dev}; {height}x{width} pixels, {data.dataset.classes} classes")
    if data.dataset.first_label != 0:
        text = mapping_text(data.dataset.class_names, data.dataset.first_label)
        say(f"labels: {data.dataset.file('y_train')}: {text}")


def _say_resized(dataset: Dataset, recipe: Recipe) -> None:
    height, width = dataset.image_shape
    if (height, width) != (recipe.image_size, recipe.image_size):
        say(f"images: {height}x{width}, resized in the graph to {recipe.image_size}x{recipe.image_size}")


def _say_unused_settings(recipe: Recipe) -> None:
    """Say if augmentations do not reach the head, or if the net has no batch norm that could be frozen."""
    if recipe.freeze_batch_norm and recipe.trains_backbone() and not has_batch_norm(recipe):
        say(f"batch norm: --net={recipe.net} has none, so --freeze_batch_norm has no effect")
    names = ", ".join(f"--{name}" for name in recipe.augmentation())
    if names and not recipe.head_sees_augmentation():
        effect = "acts only in the fine-tuning epochs" if recipe.finetune_epochs else "has no effect"
        say(
            "augmentation: --freeze=backbone with --feature_views=1 trains the head on unchanged images, so the "
            f"augmentation ({names}) {effect}; --feature_views=4 adds three augmented versions of each image"
        )
