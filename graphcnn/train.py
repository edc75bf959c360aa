"""Train a network and keep its best epoch by dev macro F1.

./run.sh train                          data/ where it holds x_train.npy, else scikit-learn's digits
./run.sh train --data=DIR --run=NAME    a folder with x_train.npy and y_train.npy, or of images
./run.sh train --run=NAME --resume      continue exactly where it was interrupted
"""

import dataclasses
import os
import platform
import shlex
import sys
from contextlib import nullcontext

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config import flags, suites
from graphcnn.config.named import RECIPES
from graphcnn.config.recipe import AUGMENTATIONS, recipe_from_dict

SHEET_IMAGES, SHEET_EPOCHS = 8, 5  # at most, on the picture of --show_augmentation


def define_flags():
    """Return this command's flags."""
    values = flags.new_flags()
    flags.define_run(values, "<recipe>-<n>; with --resume the newest")
    flags.define_data(
        values, "a folder with x_train.npy and y_train.npy or of images, cifar10, digits (default: data/)"
    )
    named = f"named settings: {', '.join(RECIPES)}, or an experiment as <suite>/<name> (default: by the data)"
    flags.define(values, str, "recipe", None, named)
    flags.define(
        values, float, "dev_fraction", 0.25, "share of the training rows held out as the dev split; 0 for none"
    )
    flags.define(values, str, "dev_split", None, "first | stratified (default: by the data)")
    flags.flags.DEFINE_boolean("resume", False, "continue the run, or start it", flag_values=values)
    flags.flags.DEFINE_boolean("overwrite", False, "delete a run of this name first", flag_values=values)
    shown = "write a picture of augmented training images to augmentation.png in --checkpoints, and train nothing"
    flags.flags.DEFINE_boolean("show_augmentation", False, shown, flag_values=values)
    flags.define_recipe(values)
    return values


def main(values, positional):
    """Train as the flags say; return the exit status."""
    flags.no_positional(positional)
    for other in ("overwrite", "show_augmentation"):
        if values.resume and values[other].value:
            raise InputError(f"--resume and --{other} exclude each other; drop one of them")
    if values.dev_split not in (None, "first", "stratified"):
        raise InputError(f"--dev_split: {unknown_name(values.dev_split, ['first', 'stratified'])}")
    from graphcnn.storage.run import Run
    from graphcnn.storage.select_run import all_runs

    cluster = _cluster()
    root = flags.checkpoints_root(values)
    run = None
    if values.run is not None:
        run = Run(root, values.run)
    elif values.resume:
        run = next(iter(all_runs(root)), None)
    if run and run.exists():
        if values.resume:
            return _resume(values, run, cluster)
        if not (values.overwrite or values.show_augmentation):
            raise InputError(f"--run={run.name}: exists; continue it with --resume, replace it with --overwrite")
    return _start(values, run or root, cluster)


def _cluster():
    """Return the Cluster of TF_CONFIG; TensorFlow is imported for one alone."""
    if not os.environ.get("TF_CONFIG", "").strip():
        return None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # tasks that are not there yet are no errors
    from graphcnn.training import workers

    return workers.from_environment()


def _start(values, run_or_root, cluster):
    """Train a new run; without a name it becomes <recipe>-<n> under the root."""
    from graphcnn.common.progress import say
    from graphcnn.data import sources
    from graphcnn.data.splits import split_dev
    from graphcnn.storage.run import Run
    from graphcnn.storage.select_run import unused_run

    if values.recipe is not None:
        suites.named_recipe(values.recipe)
    source = values.data or sources.default_source()
    why = "" if values.data else " (no --data given" + ("; data/ has no x_train.npy)" if source == "digits" else ")")
    say(f"data: {source}{why}")
    name = values.recipe or ("digits" if source == "digits" else "assignment")
    recipe = dataclasses.replace(suites.named_recipe(name).recipe, **flags.given_recipe_fields(values))
    if not values.recipe:
        say(f"recipe: {name} ({suites.named_recipe(name).description})")
    if recipe.stop_on == "dev_macro_f1" and values.dev_fraction == 0:
        raise InputError("--stop_on=dev_macro_f1: there is no dev split with --dev_fraction=0; use --stop_on=loss")

    options = sources.DataOptions(recipe.image_size, **flags.given_options(values))
    dataset = sources.load(source, options=options)
    kind = values.dev_split or dataset.dev_split
    train_rows, dev_rows = split_dev(dataset, kind, values.dev_fraction)
    say(_data_line(dataset, train_rows, dev_rows, kind))
    height, width = dataset.image_shape
    if (height, width) != (recipe.image_size, recipe.image_size):
        say(f"images: {height}x{width}, resized in the graph to {recipe.image_size}x{recipe.image_size}")
    for field, pixels in {"translate": recipe.translate, "blur": recipe.blur}.items():
        if pixels >= min(dataset.image_shape):
            raise InputError(f"--{field}: found {pixels}, expected less than the images' {height}x{width} pixels")
    if values.show_augmentation:
        return _show_augmentation(flags.checkpoints_root(values), recipe, dataset, train_rows)
    from graphcnn.graphs.validate import check_frozen, check_net
    from graphcnn.ops.tf1 import choose_precision

    check_net(recipe)
    check_frozen(recipe, dataset.image_shape, dataset.classes)
    precision, why = choose_precision(recipe.precision)
    say(f"precision: {precision} ({why})")
    recipe = dataclasses.replace(recipe, precision=precision)  # what is recorded, so that --resume goes on with it
    beginning = origin = None
    if recipe.weights != "none":
        from graphcnn.weights.prepare import prepare_initial_weights

        initial = prepare_initial_weights(
            recipe,
            dataset.spec,
            flags.checkpoints_root(values),
            options.data_cache,
            keep_normalisation=values["normalisation"].present,
        )
        recipe, beginning, origin = initial.recipe, initial.values, dataclasses.asdict(initial.origin)
    _join(cluster, recipe, dataset, train_rows, dev_rows)
    if cluster and not cluster.chief:
        return _fit(values, None, recipe, dataset, train_rows, dev_rows, beginning, options.cache_dir, cluster)
    run = run_or_root if isinstance(run_or_root, Run) else unused_run(run_or_root, name)
    split = {"kind": kind, "fraction": values.dev_fraction, "train": len(train_rows), "dev": len(dev_rows)}
    config = _config(name, recipe, dataset, options, split, origin)
    run.refuse_foreign()
    with run.lock():
        if run.exists() and not values.overwrite:
            raise InputError(f"--run={run.name}: exists; continue it with --resume, replace it with --overwrite")
        run.clear()
        run.create(config, dev_rows)
        return _fit(values, run, recipe, dataset, train_rows, dev_rows, beginning, options.cache_dir, cluster)


def _join(cluster, recipe, dataset, train_rows, dev_rows):
    """Wait for the other tasks, and refuse what they cannot do together."""
    if cluster is None:
        return
    for flag, alone in {"micro_batch": 0, "finetune_epochs": 0, "freeze": "none"}.items():
        if getattr(recipe, flag) != alone:
            raise InputError(f"--{flag}: is for one task; drop it, or train without TF_CONFIG")
    if recipe.epochs == 0:
        raise InputError("--epochs=0: is for one task; train without TF_CONFIG")
    cluster.check_batches(len(train_rows), recipe.batch_size)
    from graphcnn.common.progress import say

    say(f"task {cluster.index} of {cluster.count}, at {cluster.addresses[cluster.index]}: waiting for the others")
    cluster.meet(f"{recipe} {dataset.fingerprint} {dev_rows.tolist()}")


def _show_augmentation(root, recipe, dataset, train_rows):
    """Draw some training images as they are and as the first epochs would see them; return the exit status."""
    import numpy as np

    from graphcnn.common.progress import say
    from graphcnn.data.batches import as_rgb
    from graphcnn.evaluation import pictures
    from graphcnn.training import augment

    done = recipe.augmentation()
    if not done:
        flags = ", ".join(f"--{name}" for name in AUGMENTATIONS)
        raise InputError(f"--show_augmentation: this recipe augments nothing; add some of {flags}")
    places = np.linspace(0, len(train_rows) - 1, SHEET_IMAGES).astype(int)  # all over the file: it may go by class
    rows = train_rows[np.unique(places)]
    originals, epochs = dataset.x_train[rows], []
    for epoch in range(1, 1 + min(SHEET_EPOCHS, recipe.epochs)):
        drawn = augment.draws(recipe, len(dataset.y_train), epoch)[rows]
        epochs.append(augment.augmented(originals, recipe, drawn, dataset.pixel_max) / dataset.pixel_max)
    root.mkdir(parents=True, exist_ok=True)
    title = "  ".join(f"{name} {value}" for name, value in done.items())
    pictures.augmentation(as_rgb(originals) / dataset.pixel_max, epochs, title, root / "augmentation.png")
    say(f"augmentation of {len(epochs)} epochs: {root / 'augmentation.png'}; nothing was trained")
    return 0


def _resume(values, run, cluster):
    """Continue a run with the recipe, data and split it recorded; only --epochs and where the data lies may differ."""
    from graphcnn.common.progress import say
    from graphcnn.ops.tf1 import choose_precision
    from graphcnn.storage.recorded_data import load_recorded_data

    with run.lock() if cluster is None or cluster.chief else nullcontext():
        config = run.config()
        recipe = recipe_from_dict(config["recipe"], run.config_path)
        recorded = {**dataclasses.asdict(recipe), "recipe": config["recipe_name"]}
        recorded |= {"dev_fraction": config["split"]["fraction"], "dev_split": config["split"]["kind"]}
        for name, was in recorded.items():
            automatic = name == "precision" and values.precision == "auto"
            if name != "epochs" and not automatic and values[name].present and values[name].value != was:
                raise InputError(
                    f"--{name}: found {values[name].value}, but the run was started with {was} and --resume "
                    "continues it exactly; drop the flag or start a new run"
                )
        say(f"data: {values.data or config['data']['source']}{'' if values.data else ' (as the run recorded)'}")
        dataset, train_rows, dev_rows = load_recorded_data(
            run, config, values.data, options=flags.given_options(values)
        )
        say(_data_line(dataset, train_rows, dev_rows, config["split"]["kind"]))
        precision, why = choose_precision(recipe.precision)
        say(f"precision: {precision} ({why})")
        if values.epochs not in (None, recipe.epochs):
            if recipe.planned():
                raise InputError(
                    f"--epochs: found {values.epochs}, but this run's course was planned for {recipe.epochs} (its "
                    "schedule, lookahead or early size depend on it); drop the flag or start a new run"
                )
            recipe = dataclasses.replace(recipe, epochs=values.epochs)
        _join(cluster, recipe, dataset, train_rows, dev_rows)
        if recipe.epochs != config["recipe"]["epochs"] and (cluster is None or cluster.chief):
            run.write_config({**config, "recipe": dataclasses.asdict(recipe)})
        beginning = _beginning(values, run, config, recipe, dataset)
        cache_dir = values.cache_dir or config["data"].get("options", {}).get("cache_dir")
        return _fit(values, run, recipe, dataset, train_rows, dev_rows, beginning, cache_dir, cluster)


def _beginning(values, run, config, recipe, dataset):
    """Return the weights {variable name: array} of a run that has no epoch yet and began with some, else None."""
    if recipe.weights == "none" or (run.path / "last").is_symlink():
        return None
    from graphcnn.weights.loaded import Origin
    from graphcnn.weights.prepare import prepare_initial_weights

    origin = Origin.from_config(config, run.config_path)
    data_cache = values.data_cache or config["data"].get("options", {}).get("data_cache")
    return prepare_initial_weights(
        recipe, dataset.spec, run.root, data_cache, keep_normalisation=True, recorded=origin
    ).values


def _fit(values, run, recipe, dataset, train_rows, dev_rows, beginning, cache_dir, cluster):
    """Train and say how it ended; return the exit status."""
    from graphcnn.common.progress import say
    from graphcnn.ops.tf1 import tf
    from graphcnn.training.loop import Interrupted, fit

    def trained():
        try:
            return fit(run, recipe, dataset, train_rows, dev_rows, beginning, cache_dir, cluster)
        except tf.errors.OpError as error:
            gone = cluster.lost() if cluster else None
            if gone is None:
                raise
            raise InputError(gone) from error

    if cluster and not cluster.chief:
        try:
            state = trained()
        except Interrupted as stop:
            say("interrupted")
            return 128 + stop.signal
        say(f"finished after epoch {state['epoch']}; task 0 has written the run")
        return 0
    named = f"--run={run.name}"
    if run.root != paths.CHECKPOINTS:
        named += f" --checkpoints={shlex.quote(str(run.root))}"
    try:
        state = trained()
    except Interrupted as stop:
        names = ("data", *flags.FOLDERS) if values.resume else ()
        again = "".join(f" --{name}={shlex.quote(values[name].value)}" for name in names if values[name].value)
        saved = "the last finished epoch is saved" if (run.path / "last").exists() else "no epoch was finished yet"
        say(f"interrupted; {saved}. Continue with: ./run.sh train {named} --resume{again}")
        return 128 + stop.signal
    score = "" if state["best_score"] is None else f", dev macro F1 {state['best_score']:.6f}"
    why = "stopped early" if state["stopped_early"] else "all epochs done"
    done = f"epoch {state['epoch']}, {state['training_seconds']:.1f} s of training"
    say(f"finished ({why}) after {done}; best epoch {state['best_epoch']}{score}; in {run.path}")
    say(f"next: ./run.sh eval {named} or ./run.sh submit {named}")
    return 0


def _data_line(dataset, train_rows, dev_rows, kind):
    height, width = dataset.image_shape
    dev = f"{len(dev_rows):,} dev ({kind})" if len(dev_rows) else "no dev split"
    return f"{len(train_rows):,} training, {dev} images {height}x{width}, {dataset.classes} classes"


def _config(name, recipe, dataset, options, split, origin):
    """Return what config.json records."""
    import numpy
    import sklearn

    from graphcnn import __version__
    from graphcnn.ops.tf1 import cpu, tf

    return {
        "recipe_name": name,
        "recipe": dataclasses.asdict(recipe),
        "data": {
            "source": dataset.source,
            "fingerprint": dataset.fingerprint,
            "image_shape": list(dataset.image_shape),
            "pixel_max": dataset.pixel_max,
            "options": dataclasses.asdict(options),
        },
        "weights": origin,
        "split": split,
        "class_names": list(dataset.class_names),
        "versions": {
            "graphcnn": __version__,
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "numpy": numpy.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "cpu": cpu(),
    }


if __name__ == "__main__":
    sys.exit(run_command("train", __doc__, define_flags(), main))
