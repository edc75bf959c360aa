"""A contestant of `bench` in a process of its own: graphcnn, or Keras or PyTorch with the same net, loss, L2 and data.

python -m graphcnn.benchmark.implementations NAME PRECISION, then a JSON object a line on stdin: first the job, then
{"train": steps}, {"evaluate": images}, {"peaks": true}, {"memory": true}; a JSON object a line comes back. Only the
contestant's own library is imported, so that PyTorch may live in another environment.
"""

import json
import math
import os
import platform
import re
import resource
import sys
import time
from pathlib import Path

import numpy as np

PLANNED_STEPS = 1000  # that a schedule is told of
BATCHES = 8  # distinct training batches; steps go round them
MEAN, SCALE = 120.0, 64.0  # of the normalisation, part of each net
KERAS_APPLICATIONS = {  # a net that is no rows: Keras's own of it
    "densenet201": "DenseNet201",
    "efficientnet_b0": "EfficientNetB0",
    "inception_resnet_v2": "InceptionResNetV2",
    "inception_v3": "InceptionV3",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "resnet50": "ResNet50",
    "resnet50_v2": "ResNet50V2",
    "resnet152_v2": "ResNet152V2",
    "xception": "Xception",
}
EVALUATE_AT_ONCE = {"keras": 512, "pytorch": 128}  # small images; of 64 to 512 the best seen, each within a few percent
PIXELS_AT_ONCE = 1 << 20  # in evaluation, as here: a peer's maps of larger images would not fit into memory


def evaluated_at_once(peer, job):
    """Return how many images the peer evaluates together."""
    return max(1, min(EVALUATE_AT_ONCE[peer], PIXELS_AT_ONCE // job["image_size"] ** 2))


def images_and_labels(job):
    """Return (uint8 [M, S, S, 3], int64 [M]) of random training images, the same for every contestant."""
    generator = np.random.default_rng(0)
    count = BATCHES * job["batch_size"]
    images = generator.integers(0, 256, (count, job["image_size"], job["image_size"], 3), np.uint8)
    return images, generator.integers(0, job["classes"], count)


def training_rows(job, step):
    """Return the slice of the images that the step, counted from 0, trains on."""
    start = step % BATCHES * job["batch_size"]
    return slice(start, start + job["batch_size"])


def repeated(images, count):
    """Return `count` of the images, from the first one on, round and round."""
    return images[np.arange(count) % len(images)]


def single_layers(job):
    """Yield the rows of the job's net as (kind, values) of single layers, in the order that they compute in.

    conv: size, stride, padding, filters, bias. pool: size, stride, padding. norm: scale. activation: name. dense:
    units, bias. scale: factor. dropout: rate. global_max_pool and flatten, from maps to vectors: nothing.
    """
    recipe, vectors = job["recipe"], False
    place = recipe["batch_norm_at"] if recipe["batch_norm"] else "none"
    norm = "norm", {"scale": place == "after"}
    activation = "activation", {"name": recipe["activation"]}
    for kind, row in job["rows"]:
        if kind == "Conv":
            here = place if row["norm"] else "none"
            conv = {"size": row["kernel"], "filters": row["filters"], "bias": here != "before"}
            yield "conv", conv | {"stride": row["stride"], "padding": row["padding"]}
            window = {"size": row["pool"], "stride": row["pool_stride"] or row["pool"], "padding": row["pool_padding"]}
            pool = [("pool", window)] if row["pool"] > 1 else []
            yield from {
                "none": [activation, *pool], "before": [*pool, norm, activation], "after": [activation, norm, *pool],
            }[here]  # fmt: skip
        elif kind == "GlobalMaxPool":
            yield "global_max_pool", {}
            vectors = True
        elif kind == "Dense":
            yield from [] if vectors else [("flatten", {})]
            vectors = True
            yield "dense", {"units": row["units"] or job["classes"], "bias": row["bias"]}
            yield from [("scale", {"factor": row["scale"]})] if row["scale"] != 1 else []
            yield from [activation, *([norm] if place == "after" else [])] if row["activation"] else []
        elif recipe["keep_prob"] < 1:
            yield "dropout", {"rate": 1 - recipe["keep_prob"]}


def laps(batches, step):
    """Call step(batch) for each batch; return the seconds of each, making the batch included."""
    seconds, began = [], time.perf_counter()
    for batch in batches:
        step(*batch)
        ended = time.perf_counter()
        seconds.append(ended - began)
        began = ended
    return seconds


class Graphcnn:
    """This package: the graph, session, batches and fetches of training.fit."""

    def __init__(self, job, precision):
        from graphcnn.config.recipe import Recipe
        from graphcnn.data import batches
        from graphcnn.graphs import graph
        from graphcnn.ops.tf1 import session, tf

        self.batches, self.job = batches, job
        self.images, self.labels = images_and_labels(job)
        self.recipe = Recipe(**job["recipe"] | {"precision": precision})
        shape = self.images.shape[1:3]
        statistics = np.full(3, MEAN), np.full(3, SCALE)
        self.graph = graph.build_training(self.recipe, shape, job["classes"], statistics, PLANNED_STEPS)
        self.session = session(self.graph.graph)
        self.session.run(self.graph.init)
        self.versions = f"TensorFlow {tf.__version__}"
        self.settings = f"{precision}, one inter-op thread, {self.recipe.optimizer}"
        self.step, self.predictor = 0, None

    def train(self, steps):
        """Return the seconds of each step, the first of the turn left out as in Keras's."""
        rows = (training_rows(self.job, step) for step in range(self.step, self.step + steps + 1))
        self.step += steps + 1
        return laps(self.batches.prefetch(map(self._batch, rows)), self._step)[1:]

    def _batch(self, rows):
        return self.batches.as_rgb(self.images[rows]), self.labels[rows]

    def _step(self, images, labels):
        graph, keep_prob = self.graph, self.recipe.keep_prob
        feed = {graph.x: images, graph.y: labels, graph.keep_prob: keep_prob}
        self.session.run([graph.loss, graph.cross_entropy, graph.correct, graph.train_op], feed)

    def evaluate(self, count):
        """Return the seconds that the softmax of `count` images takes."""
        from graphcnn.evaluation import predictor

        images, self.predictor = repeated(self.images, count), self.predictor or self._predictor()
        began = time.perf_counter()
        predictor.probabilities(*self.predictor, images)
        return time.perf_counter() - began

    def _predictor(self):
        """Return (session, inference graph) with initial weights, which cost what trained ones cost."""
        from graphcnn.graphs import graph
        from graphcnn.ops.tf1 import session, tf1

        built = graph.build_inference(self.recipe, self.images.shape[1:3], self.job["classes"], self.recipe.precision)
        with built.graph.as_default():
            init = tf1.global_variables_initializer()
        running = session(built.graph)
        running.run(init)
        return running, built

    def peaks(self):
        """Return the machine's peaks in this precision, in GFLOP/s."""
        from graphcnn.benchmark import op_timings
        from graphcnn.ops.tf1 import tf

        return op_timings.peaks(tf.as_dtype(self.recipe.precision))


class Keras:
    """Keras 3 on TensorFlow: Sequential, compile and fit, as its guides write them."""

    def __init__(self, job, precision):
        os.environ["KERAS_BACKEND"] = "tensorflow"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras

        self.keras, self.job = keras, job
        recipe = job["recipe"]
        if precision != "float32":
            keras.mixed_precision.set_global_policy(f"mixed_{precision}")
        self.images, self.labels = images_and_labels(job)
        model = [keras.Input(self.images.shape[1:])]
        model.append(keras.layers.Normalization(mean=[MEAN] * 3, variance=[SCALE**2] * 3))
        if job["rows"]:
            model += [self._layer(kind, values) for kind, values in single_layers(job)]
        else:
            net = getattr(keras.applications, KERAS_APPLICATIONS[recipe["net"]])
            shape, classes = self.images.shape[1:], job["classes"]
            model.append(net(weights=None, input_shape=shape, classes=classes, classifier_activation=None))
        model.append(keras.layers.Activation("linear", dtype="float32"))
        self.model = keras.Sequential(model)
        optimizer = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[recipe["optimizer"]]
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(optimizer(recipe["learning_rate"]), loss)
        self.parameters = sum(int(np.prod(w.shape)) for w in self.model.trainable_weights)
        self.versions = f"Keras {keras.__version__}"
        self.settings = f"{keras.mixed_precision.dtype_policy().name}, fit and predict"

    def _layer(self, kind, values):
        """Return a single layer."""
        layers, l2 = self.keras.layers, self.job["recipe"]["l2"]
        penalty = self.keras.regularizers.L2(l2 / 2) if l2 else None  # Keras sums w^2 without the half
        if kind in ("conv", "pool"):
            window = {"strides": values["stride"], "padding": values["padding"].lower()}
        match kind:
            case "conv":
                options = {"use_bias": values["bias"], "kernel_regularizer": penalty}
                return layers.Conv2D(values["filters"], values["size"], **window, **options)
            case "pool":
                return layers.MaxPool2D(values["size"], **window)
            case "norm":
                return layers.BatchNormalization(epsilon=self.job["batch_norm_epsilon"], scale=values["scale"])
            case "activation":
                return layers.Activation(values["name"])
            case "global_max_pool":
                return layers.GlobalMaxPool2D()
            case "flatten":
                return layers.Flatten()
            case "dense":
                return layers.Dense(values["units"], use_bias=values["bias"], kernel_regularizer=penalty)
            case "scale":
                return layers.Rescaling(values["factor"])
            case "dropout":
                return layers.Dropout(values["rate"])

    def _timed(self):
        ends = []

        class Timer(self.keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                ends.append(time.perf_counter())

            on_predict_batch_end = on_train_batch_end

        return ends, Timer()

    def train(self, steps):
        """Return the seconds of each step inside fit, whose own start and end are left out."""
        ends, timer = self._timed()
        size = self.job["batch_size"]
        images, labels = (repeated(each, (steps + 1) * size) for each in (self.images, self.labels))
        self.model.fit(images, labels, batch_size=size, verbose=0, callbacks=[timer])
        return np.diff(ends).tolist()

    def evaluate(self, count):
        """Return the seconds that `count` images take inside predict, whose own start and end are left out."""
        ends, timer = self._timed()
        size = evaluated_at_once("keras", self.job)
        images = repeated(self.images, count + size)
        self.model.predict(images, batch_size=size, verbose=0, callbacks=[timer])
        return ends[-1] - ends[0]


class PyTorch:
    """PyTorch with its fast settings: channels_last, fused Adam, autocast for bfloat16, inference_mode."""

    def __init__(self, job, precision):
        import torch

        self.torch, self.job = torch, job
        torch.set_num_threads(job["cores"])
        recipe = job["recipe"]
        self.images, self.labels = images_and_labels(job)
        nn = torch.nn
        modules = _modules(nn, job) if job["rows"] else [TORCH_NETS[recipe["net"]](nn, job["classes"])]
        self.net = nn.Sequential(*modules).to(memory_format=torch.channels_last)
        weights = [p for p in self.net.parameters() if p.requires_grad]
        self.parameters = sum(p.numel() for p in weights)
        groups = [  # weight_decay adds l2 * w to the gradient, as the penalty's gradient does
            {"params": [p for p in weights if p.dim() > 1], "weight_decay": recipe["l2"]},
            {"params": [p for p in weights if p.dim() == 1]},
        ]
        optimizer = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[recipe["optimizer"]]
        self.optimizer = optimizer(groups, lr=recipe["learning_rate"], fused=True)
        self.dtype = getattr(torch, precision)
        self.loss = nn.CrossEntropyLoss()
        self.versions = f"PyTorch {torch.__version__}"
        autocast = "" if precision == "float32" else "autocast, "
        self.settings = f"{precision}, {autocast}channels_last, fused {recipe['optimizer']}"
        self.step = 0

    def _normalised(self, images, dtype):
        x = (self.torch.from_numpy(images).permute(0, 3, 1, 2).to(self.torch.float32) - MEAN) / SCALE
        return x.to(dtype).contiguous(memory_format=self.torch.channels_last)

    def train(self, steps):
        """Return the seconds of each step, the first of the turn left out as in Keras's."""
        rows = (training_rows(self.job, step) for step in range(self.step, self.step + steps + 1))
        self.step += steps + 1
        return laps(map(self._batch, rows), self._step)[1:]

    def _batch(self, rows):
        return self._normalised(self.images[rows], self.torch.float32), self.torch.from_numpy(self.labels[rows])

    def _step(self, images, labels):
        torch = self.torch
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype != torch.float32):
            logits = self.net(images)
        loss = self.loss(logits.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        loss.item()

    def evaluate(self, count):
        """Return the seconds that the softmax of `count` images takes, with the weights in the precision."""
        import copy

        torch, size = self.torch, evaluated_at_once("pytorch", self.job)
        net = copy.deepcopy(self.net).eval().to(self.dtype)
        images = repeated(self.images, count)
        began = time.perf_counter()
        with torch.inference_mode():
            for start in range(0, len(images), size):
                net(self._normalised(images[start : start + size], self.dtype)).float().softmax(1)
        return time.perf_counter() - began


def _resnet50_v2(nn, classes):
    """Return Keras's ResNet50V2 as a PyTorch module: the last block of a stage has its stride."""

    def norm(channels):
        return nn.Sequential(nn.BatchNorm2d(channels, eps=1.001e-5), nn.ReLU(inplace=True))

    class Bottleneck(nn.Module):
        def __init__(self, channels, filters, stride, projected):
            super().__init__()
            self.before = norm(channels)
            self.shortcut = nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()
            self.projection = nn.Conv2d(channels, 4 * filters, 1, stride) if projected else None
            self.branch = nn.Sequential(
                nn.Conv2d(channels, filters, 1, bias=False), norm(filters),
                nn.Conv2d(filters, filters, 3, stride, 1, bias=False), norm(filters),
                nn.Conv2d(filters, 4 * filters, 1),
            )  # fmt: skip

        def forward(self, x):
            y = self.before(x)
            return self.branch(y) + (self.projection(y) if self.projection else self.shortcut(x))

    modules, channels = [nn.Conv2d(3, 64, 7, 2, 3), nn.ZeroPad2d(1), nn.MaxPool2d(3, 2)], 64
    for filters, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(count):
            stride = 2 if block == count - 1 and filters < 512 else 1
            modules.append(Bottleneck(channels, filters, stride, block == 0))
            channels = 4 * filters
    return nn.Sequential(*modules, norm(channels), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def _mobilenet_v2(nn, classes):
    """Return MobileNetV2 as a PyTorch module."""

    def conv(channels, filters, kernel, stride=1, groups=1, activation=True):
        layers = [nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)]
        layers.append(nn.BatchNorm2d(filters, eps=1e-3, momentum=1e-3))
        return layers + [nn.ReLU6(inplace=True)] * activation

    class Residual(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    modules, channels = conv(3, 32, 3, 2), 32
    for expansion, filters, count, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for block in range(count):
            stride, wide = first if block == 0 else 1, expansion * channels
            layers = conv(channels, wide, 1) if expansion > 1 else []
            layers += conv(wide, wide, 3, stride, wide) + conv(wide, filters, 1, activation=False)
            modules.append((Residual if stride == 1 and channels == filters else nn.Sequential)(*layers))
            channels = filters
    modules += conv(channels, 1280, 1)
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes))


TORCH_NETS = {"mobilenet_v2": _mobilenet_v2, "resnet50_v2": _resnet50_v2}  # that are no rows
CONTESTANTS = {"graphcnn": Graphcnn, "keras": Keras, "pytorch": PyTorch}


def _modules(nn, job):
    """Return the job's net as PyTorch modules.

    SAME pads as TensorFlow does: evenly, an odd row and column coming at the end.
    """
    modules, channels, side = [], 3, job["image_size"]
    for kind, values in single_layers(job):
        if kind in ("conv", "pool"):
            size, stride = values["size"], values["stride"]
            windows = -(-side // stride) if values["padding"] == "SAME" else (side - size) // stride + 1
            padding, odd = divmod(max(0, (windows - 1) * stride + size - side), 2)
            side = windows
        match kind:
            case "conv":
                modules += [nn.ZeroPad2d((0, 1, 0, 1))] if odd else []
                modules.append(nn.Conv2d(channels, values["filters"], size, stride, padding, bias=values["bias"]))
                channels = values["filters"]
            case "pool":
                modules += [nn.ConstantPad2d((0, 1, 0, 1), -math.inf)] if odd and stride == 1 else []
                modules.append(nn.MaxPool2d(size, stride, padding, ceil_mode=bool(odd)))
            case "norm":
                norm = (nn.BatchNorm2d if side else nn.BatchNorm1d)(channels, eps=job["batch_norm_epsilon"])
                norm.weight.requires_grad_(values["scale"])
                modules.append(norm)
            case "activation":
                modules.append({"relu": nn.ReLU, "silu": nn.SiLU}[values["name"]](inplace=True))
            case "global_max_pool":
                modules += [nn.AdaptiveMaxPool2d(1), nn.Flatten()]
                side = 0
            case "flatten":
                modules.append(nn.Flatten())
                channels, side = channels * side * side, 0
            case "dense":
                modules.append(nn.Linear(channels, values["units"], bias=values["bias"]))
                channels = values["units"]
            case "scale":
                modules.append(_scaled(nn, values["factor"]))
            case "dropout":
                modules.append(nn.Dropout(values["rate"]))
    return modules


def _scaled(nn, factor):
    """Return a PyTorch module that multiplies by a constant."""

    class Scaled(nn.Module):
        def forward(self, x):
            return x * factor

    return Scaled()


def peak_memory():
    """Return this process's largest resident size so far, in bytes."""
    if platform.system() == "Darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status").read_text()  # getrusage would count what the parent had before the exec
    return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1])


def main(name, precision, requests, replies):
    """Answer requests until they end."""
    job = json.loads(requests.readline())
    contestant = CONTESTANTS[name](job, precision)
    about = {"versions": contestant.versions, "settings": contestant.settings}
    replies.write(json.dumps(about | {"parameters": getattr(contestant, "parameters", None)}) + "\n")
    replies.flush()
    for line in requests:
        request = json.loads(line)
        if "train" in request:
            reply = contestant.train(request["train"])
        elif "evaluate" in request:
            reply = contestant.evaluate(request["evaluate"])
        elif "peaks" in request:
            reply = contestant.peaks()
        else:
            reply = peak_memory()
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print does not mix with the replies
    main(sys.argv[1], sys.argv[2], sys.stdin, answers)
