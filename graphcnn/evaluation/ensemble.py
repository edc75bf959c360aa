"""Several runs as one: the mean of their softmax outputs, equal or with shares fitted on the dev split.

M members, N rows, K classes.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import bar, say
from graphcnn.config.recipe import recipe_from_dict
from graphcnn.data import sources
from graphcnn.evaluation import predictor
from graphcnn.ops.tf1 import choose_precision
from graphcnn.storage.recorded_data import load_recorded_data
from graphcnn.storage.select_run import select_runs

STEPS = 200  # of expectation maximisation; it converges from below, and shares of a thousandth do not matter


class Member(NamedTuple):
    """A trained run and the data that it was trained on, as `load_recorded_data` returns them (None: not loaded)."""

    run: Any
    config: dict
    dataset: Any = None
    train_rows: Any = None
    dev_rows: Any = None


def chosen(root, names):
    """Return the Members that --run=a,b,c names, without data; refuse those of other classes."""
    members = [Member(run, run.config()) for run in select_runs(root, names)]
    classes = members[0].config["class_names"]
    for member in members:
        if member.config["class_names"] != classes:
            raise InputError(
                f"--run: {member.run.name} knows other classes than {members[0].run.name} "
                f"({len(member.config['class_names'])} and {len(classes)}); name runs of the same data"
            )
    return members


def check_one_graph(members):
    """Refuse Members whose images are of several sizes or of several data, for a single graph."""
    first = members[0]
    for member in members:
        if member.config["data"]["image_shape"] != first.config["data"]["image_shape"]:
            raise InputError(
                f"--run: {member.run.name} has images of another size than {first.run.name}, and one graph takes one "
                "size; eval and predict take such runs together"
            )
        if member.config["data"]["fingerprint"] != first.config["data"]["fingerprint"]:
            raise InputError(
                f"--run: {member.run.name} and {first.run.name} were trained on other data; name runs of the same"
            )


def loaded(members, source=None, test=False, options=None):
    """Return the Members with their data; refuse those that do not have the same images, labels and dev rows.

    Folders of images may be decoded at several sizes. source, test, options: see load_recorded_data.
    """
    members = [
        Member(member.run, member.config, *load_recorded_data(member.run, member.config, source, test, options))
        for member in members
    ]
    first = members[0]
    for member in members:
        for what, same in {
            "training images": _fingerprint_at(member, first.dataset) == first.dataset.fingerprint,
            "dev rows": np.array_equal(member.dev_rows, first.dev_rows),
            "test labels": np.array_equal(member.dataset.y_test, first.dataset.y_test),
        }.items():
            if not same:
                raise InputError(
                    f"--run: {member.run.name} and {first.run.name} have other {what}, so that what one of them has "
                    "learned from would score the other; train them on the same data and split"
                )
    return members


def _fingerprint_at(member, dataset):
    """Return the fingerprint of the member's images; of a folder of images when decoded at the dataset's size."""
    own = member.dataset
    if own.image_shape == dataset.image_shape or not Path(own.file("x_train")).is_dir():
        return own.fingerprint
    options = {**member.config["data"].get("options", {}), "image_size": dataset.image_shape[0]}
    return sources.load(own.source, options=sources.DataOptions(**options)).fingerprint


def restored(member, precision=None, portable=False, tta=False):
    """Return the member's Restored; precision None: training's, where this CPU is faster with it."""
    trained = recipe_from_dict(member.config["recipe"], member.run.config_path).precision
    precision, _ = choose_precision(precision or ("auto" if trained == "bfloat16" else trained))
    return predictor.restore(member.run, precision, portable, tta)


def dev_probabilities(members, precision=None, portable=False, tta=False):
    """Return the softmax outputs of loaded Members on their dev split, float32 [M, N, K]."""
    return np.stack(
        [probabilities(member, member.dataset.x_train, member.dev_rows, precision, portable, tta) for member in members]
    )


def probabilities(member, images, rows=None, precision=None, portable=False, tta=False):
    """Return a member's softmax outputs, float32 [N, K]; see predictor.probabilities."""
    found = restored(member, precision, portable, tta)
    with found.session, bar(member.run.name, len(images) if rows is None else len(rows)) as advance:
        return predictor.probabilities(found.session, found.graph, images, rows, advance, tta)


def shares(kind, labels, outputs):
    """Return each member's share in the mean, float64 [M], adding up to 1.

    fitted: those under which the labels are most likely, by expectation maximisation from equal ones: the members are
    a mixture's components, and the likelihood is concave in the shares, so that they are the best ones.

    Args:
        kind: mean or fitted.
        labels: int [N], of the dev split. outputs: softmax outputs [M, N, K] there; both None for "mean".
    """
    count = len(outputs)
    found = np.full(count, 1 / count)
    if kind == "fitted":
        tiny = np.finfo(np.float32).tiny
        right = np.maximum(outputs[:, np.arange(len(labels)), labels].astype(np.float64), tiny)  # [M, N]
        for _ in range(STEPS):
            part = found[:, None] * right
            found = (part / part.sum(axis=0)).mean(axis=1)
    return found


def combined(outputs, parts):
    """Return the weighted mean of softmax outputs [M, N, K], float32 [N, K]; parts: shares [M]."""
    return np.tensordot(parts, outputs, axes=1).astype(np.float32)


def agreement(outputs):
    """Return the share of rows to which two members give the same class, float64 [M, M]."""
    answers = np.argmax(outputs, axis=2)
    return (answers[:, None] == answers[None]).mean(axis=2)


def fitted_shares(members, tta=False):
    """Return `shares` of loaded Members, fitted on their dev split, and say them."""
    if not len(members[0].dev_rows):
        raise InputError("--ensemble=fitted: the runs were trained without a dev split; use --ensemble=mean")
    labels = members[0].dataset.y_train[members[0].dev_rows]
    found = shares("fitted", labels, dev_probabilities(members, "float32", True, tta))
    say("shares fitted on dev: " + said(members, found))
    return found


def said(members, parts):
    """Return "name 0.40, name 0.60"."""
    return ", ".join(f"{member.run.name} {part:.3f}" for member, part in zip(members, parts, strict=True))
