"""The one visible training loop."""

import math
import signal
import time
from contextlib import contextmanager, nullcontext, suppress

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import bar, format_duration, report, say
from graphcnn.common.signals import stop_signal
from graphcnn.config.recipe import PREPROCESSING
from graphcnn.data import batches, statistics
from graphcnn.evaluation import metrics, pictures, predictor
from graphcnn.graphs.inference import count_parameters
from graphcnn.graphs.training import build_training
from graphcnn.ops.tf1 import reason, tf, tf1
from graphcnn.ops.tf1 import session as new_session
from graphcnn.storage import checkpoint
from graphcnn.training import augment, features
from graphcnn.training.early_stopping import EarlyStopping

WHITENING_IMAGES = 5000  # training images whose patches the whitening layer's filters come from
REDRAW_SECONDS = 60  # least time between two drawings of curves.png while training goes on


class Interrupted(Exception):  # noqa: N818 (not an error)
    """The user asked to stop; `signal` is the signal's number. The last finished epoch is saved."""

    def __init__(self, number):
        super().__init__(number)
        self.signal = number


def fit(run, recipe, dataset, train_rows, dev_rows, beginning=None, cache_dir=None, cluster=None):
    """Train a run to its end, from its `last` checkpoint where there is one; return its state (a dict).

    Args:
        run: Run, created and locked; None for a task of a cluster that begins anew and is not to write.
        recipe: Recipe.
        dataset: Dataset.
        train_rows, dev_rows: int64 arrays of row numbers; without dev rows the last epoch counts as the best.
        beginning: {variable name: array} that a fresh start begins with; other variables are drawn.
        cache_dir: folder of a frozen backbone's features, None for the default.
        cluster: Cluster of the tasks that train together, of which the first one writes; None for one.

    Returns: {"epoch", "best_epoch", "best_score" (dev macro F1 or None), "stopped_early", "stopping",
        "training_seconds" (whitening, features and training passes; dev passes and saves left out)}, and where
        fine-tuning follows "frozen_epochs", the number of those before it, once these are done.

    Errors: InputError on a non-finite loss or a failed save, Interrupted on SIGINT or SIGTERM; the last good
    checkpoint stays in each case.
    """
    resuming = run is not None and ((run.path / "last").is_symlink() or (run.path / "last").exists())
    if run is not None and not resuming and (run.path / "best").exists():
        raise InputError(f"{run.path / 'last'}: missing, though there is a best; restore the link, or use --overwrite")
    state = checkpoint.read_state(checkpoint.verify(run, "last")) if resuming else None
    rows = (train_rows, dev_rows)
    if not (state and state.get("frozen_epochs")):
        state = _fit(run, recipe, dataset, *rows, beginning, state, cache_dir, cluster=cluster)
    if recipe.finetune_epochs:
        checkpoint.update_links(run, state["epoch"], state["best_epoch"])
        best = checkpoint.read_variables(run, "best", lambda name, shape: True).arrays
        rate = recipe.finetune_learning_rate
        say(f"fine-tuning from epoch {state['best_epoch']}: nothing frozen, learning rate {rate:g}")
        state = _fit(run, recipe.finetuning(), dataset, *rows, best, state, cache_dir, recipe)
    history = run.history(state["epoch"]) if run else []
    return {**state, "training_seconds": (history[-1]["training_seconds"] or 0.0) if history else 0.0}


def _fit(run, recipe, dataset, train_rows, dev_rows, beginning, state, cache_dir, entire=None, cluster=None):
    """Train the recipe's epochs as far as `state` says that they are missing; return the state.

    entire: the Recipe whose fine-tuning this is; its first epochs are done.
    """
    # The graph: built, then finalised, so that nothing grows during training
    before = state["frozen_epochs"] if entire else 0  # epochs
    until = before + recipe.epochs
    statistics = input_statistics(recipe, dataset, train_rows)
    total_steps = recipe.epochs * math.ceil(len(train_rows) / recipe.batch_size)
    graph = build_training(recipe, dataset.image_shape, dataset.classes, statistics, total_steps, cluster)
    with graph.graph.as_default():
        variables = tf1.global_variables()
        saver = checkpoint.saver(variables)
    graph.graph.finalize()
    session = cluster.session(graph.graph) if cluster else new_session(graph.graph)
    writes = cluster is None or cluster.chief
    say(f"net: {recipe.net}, {count_parameters(graph):,} parameters, seed {recipe.seed}")

    # The state: fresh, or as the last finished epoch left it
    mode = "min" if recipe.stop_on == "loss" else "max"
    stopping = EarlyStopping(patience=recipe.patience, verbose=1, mode=mode)
    history = run.history(state["epoch"]) if state else []
    trained = (history[-1]["training_seconds"] or 0.0) if history else 0.0  # seconds, without dev passes and saves
    steps = history[before - 1]["step"] if before else 0
    if state and (not before or state["epoch"] > before):
        state = checkpoint.load(run, "last", session, saver, variables)
        if writes:
            checkpoint.update_links(run, state["epoch"], state["best_epoch"])
            run.write_history(history)
        stopping.restore(state["stopping"])
        say(f"resumed after epoch {state['epoch']}")
    else:
        fresh = {"epoch": 0, "best_epoch": 0, "best_score": None, "stopped_early": False}
        state = {**(state or fresh), "stopping": stopping.state()}
        session.run(graph.initialize)
        own = {variable.op.name for variable in graph.variables}
        beginning = {name: value for name, value in (beginning or {}).items() if name in own}
        checkpoint.assign(session, variables, beginning)
        if "whitening/w" not in beginning:
            trained += _whiten(session, graph, recipe, dataset, train_rows)
        if until == 0:  # nothing to train: the run is what the weights are
            state["best_score"] = _dev_scores(session, graph, dataset, dev_rows)[0]
            dataset.check_unchanged()
            checkpoint.save(run, session, saver, 0, state)
            run.write_history([])
            checkpoint.update_links(run, 0, 0)
    views = None
    if recipe.freeze == "backbone" and state["epoch"] < until:
        began = time.monotonic()
        views = features.cached(session, graph, recipe, dataset, train_rows, cache_dir)
        trained += time.monotonic() - began

    if cluster:
        cluster.check_same(session, variables)
    first_epoch, started, drawn = state["epoch"], time.monotonic(), time.monotonic()
    with (
        session,
        _drawn_at_the_end(run, history) if writes else nullcontext(),
        _event_writer(run, history) if writes else nullcontext() as write_events,
        stop_signal() as asked,
    ):
        while state["epoch"] < until and not state["stopped_early"]:
            epoch, began = state["epoch"] + 1, time.monotonic()

            # One pass over the training rows, each once, in an order of its own
            loss_sum, entropy_sum, correct = 0.0, 0.0, 0
            order = np.random.default_rng([recipe.seed, epoch])
            augmentation = augment.draws(recipe, len(dataset.y_train), epoch) if views is None else None
            view = views and views[(epoch - 1) % len(views)]
            with bar(f"epoch {epoch}/{until}", len(train_rows)) as advance:
                slices = batches.shuffled(train_rows, recipe.batch_size, order)
                made = (
                    (_batch(recipe, dataset, part, augmentation, view), first, len(rows))
                    for rows in slices
                    for first, part in (
                        [cluster.part(rows)] if cluster else batches.micro_batches(rows, recipe.micro_batch)
                    )
                )
                for (images, labels), first, whole in batches.prefetch(made):
                    feed = {graph.x if views is None else graph.features: images}
                    feed |= {graph.y: labels, graph.keep_prob: recipe.keep_prob}
                    loss, entropy, right, stop = _step(session, graph, feed, first, whole, cluster, asked)
                    if not math.isfinite(loss):
                        if cluster:
                            cluster.unwatch()
                        raise _diverged(recipe, state, epoch, f"the loss is {loss}", entire)
                    loss_sum += float(loss)
                    count = whole if cluster else len(labels)  # rows that these numbers are of
                    entropy_sum += float(entropy) * count
                    correct += int(right)
                    advance(count)
                    if stop:
                        if cluster:
                            cluster.leave(session)
                        raise Interrupted(asked() or signal.SIGINT)
            if not session.run(graph.finite):
                if cluster:
                    cluster.unwatch()
                raise _diverged(recipe, state, epoch, "a weight is not finite", entire)
            passed = time.monotonic() - began
            trained += passed

            # The dev pass
            dev_f1, dev_accuracy, dev_entropy = _dev_scores(session, graph, dataset, dev_rows, views, cluster)

            # Selection by dev macro F1, early stopping by the recipe's number
            is_best = dev_f1 is None or state["best_score"] is None or dev_f1 > state["best_score"]
            watched = {"loss": loss_sum, "dev_macro_f1": dev_f1}.get(recipe.stop_on)
            stopped = watched is not None and stopping.validate(watched)
            state |= {
                "epoch": epoch,
                "best_epoch": epoch if is_best else state["best_epoch"],
                "best_score": dev_f1 if is_best else state["best_score"],
                "stopped_early": stopped,
                "stopping": stopping.state(),
            }
            if recipe.finetune_epochs and (stopped or epoch == until):
                state |= {"frozen_epochs": epoch, "stopped_early": False}
            elif entire and epoch == until:
                state["stopped_early"] |= before < entire.epochs
            row = {
                "epoch": epoch,
                "step": steps + int(session.run(graph.step)),
                "loss": loss_sum,
                "cross_entropy": entropy_sum / len(train_rows),
                "accuracy": correct / len(train_rows),
                "dev_macro_f1": dev_f1,
                "dev_accuracy": dev_accuracy,
                "dev_cross_entropy": dev_entropy,
                "seconds": time.monotonic() - began,
                "images_per_second": len(train_rows) / passed,
                "training_seconds": trained,
            }

            # Everything on disk: the checkpoint, then the history, then the links
            dataset.check_unchanged()
            history.append(row)
            if cluster:
                cluster.check_same(session, variables)
            if writes:
                checkpoint.save(run, session, saver, epoch, state)
                run.write_history(history)
                checkpoint.update_links(run, epoch, state["best_epoch"])
                write_events(row)

            # A line for the user
            left = (until - epoch) * (time.monotonic() - started) / (epoch - first_epoch)
            then = f", then {recipe.finetune_epochs} of the whole net" if recipe.finetune_epochs else ""
            line = _epoch_line(until, row, is_best, left) + then
            say(line)
            report({"event": "epoch", "epoch": epoch, "epochs": until, "line": line})
            if epoch == 2 and row["step"] > recipe.warmup_steps:
                _say_if_nothing_learned(recipe, dataset.y_train[train_rows], row)
            if writes and time.monotonic() - drawn > REDRAW_SECONDS:
                _draw(run, history)
                drawn = time.monotonic()
            if asked() and not cluster:
                raise Interrupted(asked())
            if state.get("frozen_epochs") == epoch:
                break
        if cluster:
            cluster.leave(session)
    return state


def _step(session, graph, feed, first, whole, cluster=None, asked=lambda: 0):
    """Run a training step, or a micro-batch's part of it.

    Args:
        feed: the images, labels and keep_prob.
        first, whole: see BatchSliceInputs. The last part of a batch makes the update.
        cluster: Cluster whose tasks all run the step, None for one.
        asked: returns whether this task is asked to stop.

    Returns: (loss, cross-entropy, correct rows, whether to stop), all tasks'.
    """
    fetches = [graph.loss, graph.cross_entropy, graph.correct]
    place = {} if graph.batch_slice is None else {graph.batch_slice.first: first, graph.batch_slice.size: whole}
    if cluster:
        place[cluster.asked] = float(bool(asked()))
        *found, stop, _ = session.run([*fetches, cluster.stop, graph.train_op], {**feed, **place}, cluster.options)
        return *found, stop > 0
    if graph.accumulation is None:
        *found, _ = session.run([*fetches, graph.train_op], feed)
        return *found, asked()
    if first == 0:
        session.run(graph.accumulation.reset)
    *found, _ = session.run([*fetches, graph.accumulation.add], {**feed, **place})
    if first + len(feed[graph.y]) == whole:
        session.run(graph.train_op)
    return *found, asked()


def _dev_scores(session, graph, dataset, dev_rows, views=None, cluster=None):
    """Return (macro F1, accuracy, cross-entropy) on the dev rows, None each where there are none.

    Each task of a cluster computes some of them.
    """
    if not len(dev_rows):
        return None, None, None
    dataset.check_unchanged()
    shown = {"images": dataset.x_train} if views is None else {"images": views[0], "features": True}
    first, rows = cluster.part(dev_rows) if cluster else (0, dev_rows)
    softmax = np.zeros([len(dev_rows), dataset.classes], np.float32)
    if len(rows):
        with bar("dev", len(rows)) as advance:
            found = predictor.probabilities(session, graph, rows=rows, advance=advance, **shown)
        softmax[first : first + len(rows)] = found
    softmax = cluster.exchange(session, softmax) if cluster else softmax
    scores = metrics.summary(dataset.y_train[dev_rows], softmax)
    return tuple(scores[name] for name in ("macro_f1", "accuracy", "cross_entropy"))


def _batch(recipe, dataset, rows, drawn, view=None):
    """Return the training rows' (images float32 [N, H, W, 3] in raw units, augmented, labels int [N]).

    view: float32 [M, C], all rows' features, to be returned in the images' place.
    """
    if view is not None:
        return view[rows], dataset.y_train[rows]
    dataset.check_unchanged()  # before a read beyond a shortened file's end, which would be a bus error
    images = augment.augmented(dataset.x_train[rows], recipe, drawn[rows], dataset.pixel_max)
    return images, dataset.y_train[rows]


def _whiten(session, graph, recipe, dataset, train_rows):
    """Give the whitening layer, where there is one, its filters from some training rows; return the seconds it took."""
    began = time.monotonic()
    if graph.whitening_filters is not None:
        rows = np.random.default_rng([recipe.seed, 0]).permutation(train_rows)[:WHITENING_IMAGES]
        parts = batches.in_order(np.sort(rows), batches.chunk_size(dataset.image_shape))
        seen = (session.run(graph.images, {graph.x: batches.as_rgb(dataset.x_train[part])}) for part in parts)
        filters = statistics.whitening_filters(seen, recipe.whitening_patch_size)
        initializer = graph.whitening_filters.initializer
        session.run(initializer, {initializer.inputs[1]: filters})
    return time.monotonic() - began


def input_statistics(recipe, dataset, train_rows):
    """Return (mean [3], scale [3]) in raw units for the recipe's normalisation, fitted on the training rows."""
    if recipe.normalisation == "standardize":
        with bar("statistics", len(train_rows)) as advance:
            return statistics.channel_statistics(dataset.x_train, train_rows, advance)
    if recipe.normalisation in PREPROCESSING:
        mean, scale = (np.array(values) * dataset.pixel_max / 255 for values in PREPROCESSING[recipe.normalisation])
        return mean, scale
    return np.zeros(3), np.full(3, dataset.pixel_max if recipe.normalisation == "unit" else 1)


@contextmanager
def _event_writer(run, history):
    """Yield a function that adds a history row to the run's TensorBoard event files (x axis: epochs)."""
    folder = run.path / "events"

    @contextmanager
    def errors_said():
        try:
            yield
        except tf.errors.OpError as error:
            raise InputError(
                f"{folder}: cannot be written ({reason(error)}); the last finished epoch is saved: free some space or "
                f"mend the folder, then continue with train --run={run.name} --resume"
            ) from None

    def write(row):
        scalars = {name: value for name, value in row.items() if name != "epoch" and value is not None}
        values = [tf1.Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        with errors_said():
            writer.add_summary(tf1.Summary(value=values), row["epoch"])
            writer.flush()

    with errors_said():
        writer = tf1.summary.FileWriter(str(folder))
    if history:  # TensorBoard then drops what an interrupted training wrote beyond this epoch
        writer.add_session_log(tf1.SessionLog(status=tf1.SessionLog.START), history[-1]["epoch"] + 1)
    try:
        yield write
    finally:
        with suppress(tf.errors.OpError):
            writer.close()


@contextmanager
def _drawn_at_the_end(run, history):
    """Draw curves.png when the block ends, however it ends."""
    try:
        yield
    finally:
        _draw(run, history)


def _draw(run, history):
    """Draw curves.png of the epochs there are; a disk too full for a picture is no reason to lose the run."""
    with suppress(OSError, InputError):
        if history:
            pictures.curves(history, run.path / "curves.png")


def _epoch_line(until, row, is_best, left):
    dev = ""
    if row["dev_macro_f1"] is not None:
        star = "*" if is_best else " "
        dev = f"  dev macro F1 {row['dev_macro_f1']:.4f}{star} accuracy {row['dev_accuracy']:.4f}"
    return (
        f"epoch {row['epoch']:>{len(str(until))}}/{until}  loss {row['loss']:.1f}  "
        f"cross-entropy {row['cross_entropy']:.4f}{dev}  {row['images_per_second']:.0f} images/s  "
        f"left {format_duration(left)}"
    )


def _diverged(recipe, state, epoch, what, entire):
    kept = f"epoch {state['epoch']}'s checkpoint is kept" if state["epoch"] else "nothing was saved yet"
    rate = "finetune_learning_rate" if entire else "learning_rate"
    also = f", --muon_learning_rate (now {recipe.muon_learning_rate:g})" if recipe.optimizer == "muon" else ""
    return InputError(
        f"epoch {epoch}: {what}; training stopped and {kept}; start anew with a lower --{rate} (now "
        f"{recipe.learning_rate:g}){also}, more --warmup_steps (now {recipe.warmup_steps}) or "
        "--normalisation=standardize"
    )


def _say_if_nothing_learned(recipe, labels, row):
    """Tell the user when two epochs brought no more than knowing the classes' frequencies would."""
    shares = np.bincount(labels) / len(labels)
    guessing = float(-np.sum(shares * np.log(shares)))  # nats: the cross-entropy of always answering the frequencies
    cross_entropy, accuracy = row["cross_entropy"], row["dev_accuracy"] or 0
    if cross_entropy > 0.98 * guessing and accuracy < 1.5 * shares.max():
        say(
            f"nothing learned in two epochs (cross-entropy {cross_entropy:.3f}, guessing is {guessing:.3f}): stop it "
            f"and try a lower --learning_rate (now {recipe.learning_rate:g}), more --warmup_steps (now "
            f"{recipe.warmup_steps}), --normalisation=standardize or another --seed"
        )
