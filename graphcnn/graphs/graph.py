"""A recipe as one TF1 graph: placeholders, resize, normalisation, net, loss, L2, train op.

The names x:0, y:0, keep_prob:0, training:0, tta:0, logits:0 and hypothesis:0 are public: graders restore the graph and
use them. N batch, H W the stored images' size, K classes.
"""

from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError, unknown_name
from graphcnn.nets import blocks
from graphcnn.nets.registry import ANY_SIZE, ARCHITECTURES, NETS, SEQUENTIAL
from graphcnn.nets.sequential import fits
from graphcnn.ops import layers
from graphcnn.ops.optimizers import lookahead, train_op
from graphcnn.ops.tf1 import choose_precision, tf, tf1

HEAD = "predictions"  # scope of a pooled head's dense layer


class Graph(NamedTuple):
    """The tensors of a built graph; those from `loss` on are None in an inference graph.

    x: float32 [N, H, W, 3], raw units. y: int32 [N]. keep_prob: float32, 1.0 unless fed. training, tta: bool, False.
    images: float32 [N, S, S, 3], what the net sees of x. features: float32 [N, C], what a pooled head sees of the maps;
    fed in x's place, they spare the net below it; None with another head.
    logits, hypothesis (softmax): float32 [N, K], of the moving batch norm; with tta fed True the mean logits over the
    recipe's views.
    first, whole: int32 []; fed where x is a part of a step's batch, a micro-batch or a task's: the row that x starts
    with, and that batch's number of rows. None where batches are whole.
    variables: what a prediction depends on, as a list: weights, moving moments, normalisation.
    whitening: the variable that wants statistics.whitening_filters of `images` before the first step, or None.
    loss: float32, the batch's mean (smoothed) cross-entropy plus L2; a micro-batch's share of it. cross_entropy:
    float32, the mean without either. correct: int32, how many rows' largest logit is the right one while training. Of
    a cluster's tasks all three are for the whole batch.
    finite: bool, whether all weights are finite. step: int64. init: initialises all variables.
    train_op: one update; with micro-batches by the gradients that `accumulate`, run for each of them after `forget`,
    has summed (both None in a recipe without).
    """

    graph: Any
    x: Any
    y: Any
    keep_prob: Any
    training: Any
    tta: Any
    images: Any
    features: Any
    logits: Any
    hypothesis: Any
    variables: list
    whitening: Any
    first: Any = None
    whole: Any = None
    loss: Any = None
    cross_entropy: Any = None
    correct: Any = None
    finite: Any = None
    step: Any = None
    forget: Any = None
    accumulate: Any = None
    train_op: Any = None
    init: Any = None


def build_inference(recipe, image_shape, classes, precision="float32", portable=False):
    """Return a Graph without loss and optimizer, to be restored; its defaults predict when only x is fed.

    Args:
        recipe: Recipe.
        image_shape: (H, W) of the stored images.
        classes: K.
        precision: of convolutions and matmuls: auto, float32 or bfloat16.
        portable: whether other programs are to use the graph: it then has tf.nn's convolutions alone.
    """
    with tf1.Graph().as_default() as graph:
        unset = (np.zeros(3), np.ones(3))
        inputs = _inputs(image_shape, recipe.micro_batch)
        how = (classes, _dtype(precision), unset, tf.constant(0), portable)
        return _forward(graph, inputs, recipe, *how)[0]


def build_ensemble(recipes_of, image_shape, classes, shares):
    """Return an inference Graph, portable and in float32, of several nets and the weighted mean of their outputs.

    The variables of the n-th one, from 1, are in member_<n>/; logits are the mean's logarithm.

    Args:
        recipes_of: the members' Recipes. shares: of each in the mean, adding up to 1.
        image_shape, classes: see build_inference.
    """
    with tf1.Graph().as_default() as graph:
        inputs, unset, members = _inputs(image_shape), (np.zeros(3), np.ones(3)), []
        for n, recipe in enumerate(recipes_of, start=1):
            with tf1.variable_scope(member_scope(n)):
                members.append(_forward(graph, inputs, recipe, classes, tf.float32, unset, tf.constant(0), True)[0])
        mean = tf.add_n([share * member.hypothesis for share, member in zip(shares, members, strict=True)])
        return members[0]._replace(
            images=None,
            features=None,
            logits=tf.math.log(tf.maximum(mean, np.finfo(np.float32).tiny), name="logits"),
            hypothesis=tf.identity(mean, name="hypothesis"),
            variables=tf1.global_variables(),
            whitening=None,
        )


def member_scope(n):
    """Return the scope of an ensemble's n-th member's variables, counted from 1."""
    return f"member_{n}"


def build_training(recipe, image_shape, classes, statistics, total_steps, cluster=None):
    """Return the Graph of a training run, its multiplications in recipe.precision.

    Args:
        recipe: Recipe.
        image_shape: (H, W) of the stored images.
        classes: K.
        statistics: (mean [3], scale [3]) in raw units; the net sees (x - mean) / scale.
        total_steps: updates in the whole run; schedule, lookahead and early_fraction refer to it.
        cluster: Cluster whose tasks each have some rows of a step's batch, None for one task.
    """
    with tf1.Graph().as_default() as graph:
        step, dtype = tf1.train.create_global_step(), _dtype(recipe.precision)
        inputs = _inputs(image_shape, recipe.micro_batch or cluster)
        forward, logits_at = _forward(graph, inputs, recipe, classes, dtype, statistics, step, cluster=cluster)
        fixed = frozen(recipe.freeze, forward.variables)
        weights = [weight for weight in tf1.trainable_variables() if weight.op.name not in fixed]
        moving = []  # batch norm's variables, in the order of the moments that `slopes` returns

        def slopes(size):
            """Return [loss, cross-entropy, correct rows, the gradient of each weight, each batch norm's moments]."""
            moments, auxiliary = [], []
            logits = logits_at(forward.x, size, moments, auxiliary)
            moving[:] = [(variable, share) for variable, _, share in moments]
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=forward.y, logits=logits)  # [N]
            cross_entropy = tf.reduce_mean(each)
            loss = smoothed(cross_entropy, logits, recipe.label_smoothing) + l2_penalty(recipe.l2, weights)
            for weight, side in auxiliary:
                entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=forward.y, logits=side)
                loss += weight * smoothed(tf.reduce_mean(entropies), side, recipe.label_smoothing)
            if forward.whole is not None:
                loss *= tf.cast(tf.size(forward.y) / forward.whole, tf.float32)
            right = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), forward.y)
            correct = tf.math.count_nonzero(right, dtype=tf.int32)
            return [loss, cross_entropy, correct, *tf1.gradients(loss, weights), *(value for _, value, _ in moments)]

        early_steps = round(recipe.early_fraction * total_steps) if recipe.early_size else 0
        if early_steps:
            found = tf.cond(step < early_steps, lambda: slopes(recipe.early_size), lambda: slopes(recipe.image_size))
        else:
            found = slopes(recipe.image_size)
        loss, cross_entropy, correct, *found = found
        gradients, values = found[: len(weights)], found[len(weights) :]
        if cluster:
            share = tf.cast(tf.size(forward.y) / forward.whole, tf.float32)
            found = cluster.total_of_step(gradients, loss, share * cross_entropy, correct)
            gradients, loss, cross_entropy, correct = found
            cluster.add_exchange()
        graph.clear_collection(tf1.GraphKeys.COND_CONTEXT)
        forget = accumulate = None
        if recipe.micro_batch:
            sums = [_sum_like(w) for w in weights]
            forget = tf.group([each.initializer for each in sums])
            accumulate = tf.group([tf1.assign_add(a, g).op for a, g in zip(sums, gradients, strict=True)])
            gradients = sums
        updates = [train_op(recipe, weights, gradients, step, total_steps, dtype)]
        rows = tf.size(forward.y) if forward.whole is None else forward.whole
        filled = tf.cast(rows, tf.float32) / recipe.batch_size
        for (variable, share), value in zip(moving, values, strict=True):
            updates.append(tf1.assign_sub(variable, filled * share * (variable - value)).op)
        if recipe.lookahead:
            with tf.control_dependencies(updates):
                averaged = [*weights, *(variable for variable, _ in moving)]
                updates = [lookahead(averaged, recipe.lookahead, step.read_value(), total_steps)]
        return forward._replace(
            loss=loss,
            cross_entropy=cross_entropy,
            correct=correct,
            finite=tf.reduce_all([tf.reduce_all(tf.math.is_finite(w)) for w in weights]),
            step=step,
            forget=forget,
            accumulate=accumulate,
            train_op=tf.group(updates),
            init=tf1.global_variables_initializer(),
        )


def check_net(recipe):
    """Refuse a net that is not in NETS, with the nearest match, and image sizes that it has no room or weights for."""
    if recipe.net not in NETS:
        raise InputError(f"--net: {unknown_name(recipe.net, list(NETS))}")
    if recipe.net in ARCHITECTURES and recipe.net not in SEQUENTIAL:
        _check_architecture(recipe, ARCHITECTURES[recipe.net])
        return
    if recipe.early_size and recipe.net not in ANY_SIZE and recipe.head == "own":
        raise InputError(
            f"--early_size={recipe.early_size}: the dense layers of --net={recipe.net} fit one size only; use "
            f"--early_size=0, or --net={' or '.join(sorted(ANY_SIZE))}"
        )
    for flag in ("image_size", "early_size"):
        side = getattr(recipe, flag)
        if side and not fits(SEQUENTIAL.get(recipe.net, ()), side - max(0, recipe.whitening_patch_size - 1)):
            raise InputError(f"--{flag}: found {side}, too small for the windows of --net={recipe.net}; enlarge it")


def _check_architecture(recipe, architecture):
    """Refuse what a net with layers of its own cannot be given."""
    named = f"--net={recipe.net}"
    for flag in ("image_size", "early_size"):
        side = getattr(recipe, flag)
        if side and side < architecture.smallest:
            raise InputError(f"--{flag}: found {side}, but {named} wants at least {architecture.smallest}; enlarge it")
    for flag, own in {"whitening_patch_size": 0, "batch_norm": False, "activation": "relu"}.items():
        if getattr(recipe, flag) != own:
            raise InputError(f"--{flag}: {named} has its own layers; drop the flag, or use a net of rows")
    if architecture.norm and recipe.micro_batch:
        raise InputError(
            f"--micro_batch={recipe.micro_batch}: {named} has batch norm, which needs the moments of the whole batch; "
            f"lower --batch_size (now {recipe.batch_size}) instead"
        )


def smoothed(cross_entropy, logits, share):
    """Return the mean cross-entropy against targets of which `share` is spread evenly over all classes; a scalar."""
    if not share:
        return cross_entropy
    even = -tf.reduce_mean(tf.nn.log_softmax(logits))  # the cross-entropy against the even distribution
    return (1 - share) * cross_entropy + share * even


def l2_penalty(weight, variables):
    """Return weight * sum of ||w||^2 / 2 over the variables of rank > 1, a float32 scalar."""
    if not weight:
        return tf.constant(0.0)
    with tf.name_scope("l2"):
        return weight * tf.add_n([tf.nn.l2_loss(w) for w in variables if w.shape.rank > 1])


def frozen(freeze, variables):
    """Return the names of those of the graph's variables that Recipe.freeze leaves as they are, a frozenset.

    variables: in the order in which the net makes them.
    """
    names = [variable.op.name for variable in variables]
    if freeze == "none":
        return frozenset()
    if freeze == "backbone":
        return frozenset(name for name in names if not name.startswith(f"{HEAD}/"))
    scope = freeze.removeprefix("until:")
    within = [place for place, name in enumerate(names) if name.startswith(f"{scope}/")]
    trained = [v for v in variables[within[-1] + 1 :] if v.trainable] if within else []
    if not trained:
        scopes = list(dict.fromkeys(name.rpartition("/")[0] for name in names))
        said = "leaves nothing to train; name an earlier one" if within else unknown_name(scope, scopes)
        raise InputError(f"--freeze={freeze}: {said}")
    return frozenset(names[: within[-1] + 1])


def check_frozen(recipe, image_shape, classes):
    """Refuse a recipe that freezes up to a scope that the net does not have."""
    if recipe.freeze.startswith("until:"):
        frozen(recipe.freeze, build_inference(recipe, image_shape, classes).variables)


def count_parameters(graph):
    """Return the number of trainable scalars in a Graph."""
    return sum(int(np.prod(v.shape)) for v in graph.variables if v.trainable)


def _sum_like(weight):
    """Return a float32 variable of the weight's shape, of one session alone: no checkpoint holds it."""
    name, local = f"micro_batch/{weight.op.name}", [tf1.GraphKeys.LOCAL_VARIABLES]
    return tf1.get_variable(name, weight.shape, tf.float32, tf1.zeros_initializer(), trainable=False, collections=local)


def _dtype(precision):
    return tf.as_dtype(choose_precision(precision)[0])


def _inputs(image_shape, parts=False):
    """Return {field of Graph: placeholder}, in the current tf.Graph; first and whole where batches come in parts."""
    x = tf1.placeholder(tf.float32, [None, *image_shape, 3], name="x")
    y = tf1.placeholder(tf.int32, [None], name="y")
    found = {
        "x": x,
        "y": y,
        "keep_prob": tf1.placeholder_with_default(1.0, [], name="keep_prob"),
        "training": tf1.placeholder_with_default(False, [], name="training"),
        "tta": tf1.placeholder_with_default(False, [], name="tta"),
    }
    if parts:
        found["first"] = tf1.placeholder_with_default(0, [], name="first")
        found["whole"] = tf1.placeholder_with_default(tf.size(y), [], name="whole")
    return found


def _forward(graph, inputs, recipe, classes, dtype, statistics, step, portable=False, cluster=None):
    """Return (the Graph up to `hypothesis`, a function that builds the net anew for training), in the current tf.Graph.

    The function takes x, the side S to train at and empty lists for batch norm's moments and for auxiliary logits, and
    returns float32 logits [N, K] from the same variables.
    """
    check_net(recipe)
    x, tta, keep_prob = (inputs[name] for name in ("x", "tta", "keep_prob"))
    with tf1.variable_scope("normalisation"):
        mean, scale = (
            tf1.get_variable(name, initializer=np.asarray(value, np.float32), trainable=False)
            for name, value in zip(("mean", "scale"), statistics, strict=True)
        )

    def seen(x, size):
        """Return what the net sees: float32 [N, size, size, 3]."""
        if tuple(x.shape[1:3]) != (size, size):
            how = {"antialias": True} if size == recipe.image_size else {"method": "area"}  # area: 20 times as fast
            x = tf.image.resize(x, [size, size], **how)
        x = x[..., ::-1] if recipe.normalisation == "caffe" else x  # blue, green, red
        return (x - mean) / scale

    def mode(moments=None, auxiliary=None, fixed=frozenset()):
        training = moments is not None
        total = cluster.total_with_gradient if cluster else None
        return blocks.Mode(
            seed=recipe.seed, step=step, keep_prob=keep_prob if recipe.keep_prob < 1 else None,
            part=layers.Part(inputs["first"], inputs["whole"], total) if training and "first" in inputs else None,
            drop_connect=recipe.drop_connect, whitening=recipe.whitening_patch_size, init=recipe.init,
            bias_init=recipe.bias_init, activation=recipe.activation,
            batch_norm=recipe.batch_norm_position if recipe.batch_norm else "none",
            training=training, frozen=fixed, moments=moments, auxiliary=auxiliary, portable=portable,
        )  # fmt: skip

    def net(images, mode):
        """Return (logits [N, K], the features [N, C] under a pooled head or None), float32."""
        found = NETS[recipe.net](tf.cast(images, dtype), classes if recipe.head == "own" else None, mode)
        if recipe.head == "own":
            return tf.cast(found, tf.float32), None
        features = tf.cast(layers.global_average_pool(found, "features"), tf.float32)
        return head(features, mode), features

    def head(features, mode):
        return blocks.dense(blocks.dropout(features, f"{HEAD}/dropout", mode), HEAD, classes, mode)

    shown, shares = _views(x, tta, recipe)
    images = seen(shown, recipe.image_size)
    logits, features = net(images, mode())
    if shares is not None:  # [V * N, K] -> [N, K]
        logits = tf.reduce_sum(tf.reshape(logits, [tf.size(shares), -1, classes]) * shares[:, None, None], axis=0)
    logits = tf.identity(logits, name="logits")
    graph.clear_collection(tf1.GraphKeys.COND_CONTEXT)  # sets of names: the .meta would have them in another order
    variables = [v for v in tf1.global_variables() if v is not tf1.train.get_global_step()]
    forward = Graph(
        graph=graph,
        **inputs,
        images=images,
        features=features,
        logits=logits,
        hypothesis=tf.nn.softmax(logits, name="hypothesis"),
        variables=variables,
        whitening=next((v for v in variables if v.op.name == "whitening/w"), None),
    )

    def logits_at(x, size, moments, auxiliary):
        with tf1.variable_scope(tf1.get_variable_scope(), reuse=True), tf.name_scope("training_pass"):
            how = mode(moments, auxiliary, frozen(recipe.freeze, variables))
            return head(features, how) if recipe.freeze == "backbone" else net(seen(x, size), how)[0]

    return forward, logits_at


def _views(x, tta, recipe):
    """Return (images [V * N, H, W, 3], each view's share [V]): x alone, with `tta` the views that training showed too.

    Mirrored where the recipe flips; shifted by a pixel along both diagonals where it translates: these two count half
    (arXiv 2404.00498, section 3.7). (x, None) where it does neither.
    """
    height, width = x.shape[1:3]

    def all_views():
        found = [x]
        if recipe.translate:
            padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
            found += [padded[:, :height, :width], padded[:, 2:, 2:]]
        if recipe.flip != "none":
            found += [view[:, :, ::-1] for view in found]
        return tf.concat(found, axis=0)

    shares = [0.5, 0.25, 0.25] if recipe.translate else [1.0]
    if recipe.flip != "none":
        shares = [share / 2 for share in shares] * 2
    if len(shares) == 1:
        return x, None
    shown = tf.cond(tta, all_views, lambda: tf.identity(x))
    shown.set_shape(x.shape)
    return shown, tf.cond(tta, lambda: tf.constant(shares), lambda: tf.constant([1.0]))
