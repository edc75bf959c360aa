"""Time a net's training step and evaluation here, in Keras and in PyTorch, turn by turn on the same machine.

./run.sh bench                        the default net at batch 128; a table, bench.json and bench.png in checkpoints/
./run.sh bench --peers=all            install PyTorch too, into .venv-peers, and compare with it
./run.sh bench --recipe=NAME          another recipe's net, loss and batch size, such as ladder/vgg_like_1's
./run.sh bench --recipe=zoo --net=resnet50_v2    an ImageNet net
./run.sh bench --profile              where the step's time goes, by op type and by layer
./run.sh bench --forms                both forms of the net's convolutions, from which the choice in kernels.py comes
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from graphcnn.common import paths
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config import flags, suites
from graphcnn.config.recipe import RECIPES

ENVIRONMENT = paths.REPOSITORY / ".venv-peers"
REQUIREMENTS = paths.REPOSITORY / "requirements-peers.txt"
PEERS = {"keras": "keras", "pytorch": "torch"}  # name: the module whose presence tells
PEERS_HAVE = {  # of a recipe's settings that a step depends on
    "optimizer": ("adam", "sgd"), "bias_rate": (1,), "whitening": (0,), "label_smoothing": (0,), "lookahead": (0,),
    "head": ("own",),
}  # fmt: skip
CLASSES = 10
WARM_UP = 3  # training steps
WHOLE = {
    "early_size": 0,
    "micro_batch": 0,
    "freeze": "none",
    "views": 1,
    "finetune_epochs": 0,
}  # what is timed: all of it


def define_flags():
    """Return this command's flags."""
    values = flags.new_flags()
    flags.define_precision(values, "auto")
    names = f"{', '.join(RECIPES)}, or an experiment as <suite>/<name>"
    said = "whose net, loss and batch size are timed, in whole batches of full size without augmentation"
    flags.define(values, str, "recipe", "assignment", f"named settings {said}: {names}")
    flags.define(values, str, "net", None, "network, a name of graphcnn.nets.NETS (default: the recipe's)")
    flags.define(values, int, "batch_size", None, "images per step (default: the recipe's)")
    flags.define(values, int, "image_size", None, "side of the images in pixels (default: the recipe's)")
    flags.define(
        values, str, "peers", "installed", "installed | all (installs what is missing) | none | names: keras,pytorch"
    )
    flags.define(values, int, "rounds", 5, "turns of each contestant")
    flags.define(values, int, "steps", 6, "training steps in a turn")
    flags.define(values, int, "images", 10_000, "images to evaluate over all turns")
    flags.define(
        values,
        str,
        "out",
        None,
        "write the numbers to this .json, the chart beside it (default: checkpoints/bench.json)",
    )
    flags.flags.DEFINE_boolean(
        "profile", False, "trace the step instead: time by op type and by layer", flag_values=values
    )
    flags.flags.DEFINE_boolean("forms", False, "time both forms of each convolution instead", flag_values=values)
    return values


def main(values, positional):
    """Print the table; write the JSON and the chart."""
    flags.no_positional(positional)
    asked = flags.precision(values)
    for name in ("rounds", "steps", "images"):
        if values[name].value < 1:
            raise InputError(f"--{name}: found {values[name].value}, expected a whole number at least 1")
    if values.profile and values.forms:
        raise InputError("--profile and --forms exclude each other; drop one of them")
    given = {name: values[name].value for name in ("net", "image_size", "batch_size") if values[name].present}
    recipe = dataclasses.replace(suites.named(values.recipe).recipe, **WHOLE, **given)
    from graphcnn.common.progress import say
    from graphcnn.graphs import graph
    from graphcnn.ops.tf1 import choose_precision

    graph.check_net(recipe)
    precision, why = choose_precision(asked)
    say(f"precision: {precision} ({why})")
    recipe = dataclasses.replace(recipe, precision=precision)
    if values.profile:
        return _profile(recipe)
    if values.forms:
        return _forms(recipe)
    from graphcnn.evaluation import pictures
    from graphcnn.storage.run import replacing

    out = Path(values.out) if values.out else paths.CHECKPOINTS / "bench.json"
    if out.suffix != ".json" or out.is_dir():
        raise InputError(
            f"--out={out}: expected a file name that ends in .json; the chart gets the same name with .png"
        )
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"--out={out}: {out.parent} is no folder that can be written to")
    for name, known in PEERS_HAVE.items() if values.peers != "none" else ():
        if getattr(recipe, name) not in known:
            found = f"--recipe={values.recipe}: has {name} {getattr(recipe, name)}"
            raise InputError(f"{found}, the peers {' or '.join(map(str, known))} alone; use --peers=none")
    asked = _peers(values.peers)
    if not _rows(recipe.net):
        _check_no_rows(recipe, asked)
    results = _compare(values, recipe, asked)
    _print(results)
    with replacing(out) as file:
        file.write((json.dumps(results, indent=2) + "\n").encode())
    pictures.contest(results, out.with_suffix(".png"))
    say(f"written: {out}, {out.with_suffix('.png').name}")
    return 0


def _check_no_rows(recipe, asked):
    """Refuse what the peers of a net that is no rows do not have."""
    from graphcnn.benchmark.implementations import KERAS_APPLICATIONS, TORCH_NETS

    for peer, known in {"keras": KERAS_APPLICATIONS, "pytorch": TORCH_NETS}.items():
        if peer in asked and recipe.net not in known:
            found = f"--net={recipe.net}: {peer} is not given it, but {', '.join(sorted(known))}"
            raise InputError(f"{found}; use --peers={', '.join(set(asked) - {peer}) or 'none'}")
    for name, plain in {"l2": 0, "keep_prob": 1}.items():
        if asked and getattr(recipe, name) != plain:
            raise InputError(f"--net={recipe.net}: peers have no {name}; use --recipe=zoo, or --peers=none")


def _peers(asked):
    """Return {peer: its Python} as --peers says, installing what `all` lacks."""
    from graphcnn.common.progress import say

    names = list(PEERS) if asked in ("installed", "all") else [] if asked == "none" else asked.split(",")
    pythons = {}
    for name in names:
        if name not in PEERS:
            raise InputError(f"--peers: {unknown_name(name, ['installed', 'all', 'none', *PEERS])}")
        python = ENVIRONMENT / "bin" / "python"
        if importlib.util.find_spec(PEERS[name]):
            pythons[name] = sys.executable
        elif name == "pytorch" and (_has(python, PEERS[name]) or (asked == "all" and _install(python))):
            pythons[name] = python
        elif asked == "installed":
            say(f"{name} is not installed; --peers=all installs it into {ENVIRONMENT.name}")
        else:
            raise InputError(f"--peers: {name} is not installed; --peers=all installs it into {ENVIRONMENT.name}")
    return pythons


def _has(python, module):
    found = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return python.exists() and subprocess.run([python, "-c", found], check=False).returncode == 0


def _install(python):
    """Make the environment of the peers; return True."""
    from graphcnn.common.progress import say

    say(f"installing {REQUIREMENTS.name} into {ENVIRONMENT.name} (once; PyTorch is large)")
    commands = [
        [sys.executable, "-m", "venv", "--clear", ENVIRONMENT],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS],
    ]
    if any(subprocess.run(command, check=False).returncode for command in commands):
        raise InputError(f"--peers=all: installing {REQUIREMENTS.name} failed; check the network and call again")
    return True


class Contestant:
    """A process of benchmark.implementations that answers requests; the first one is the job. `close` ends it."""

    def __init__(self, name, precision, python):
        self.name, self.precision = name, precision
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed by close)
        path = os.pathsep.join([str(paths.REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": "-1"}
        self.process = subprocess.Popen(
            [python, "-m", "graphcnn.benchmark.implementations", name, precision],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment,
        )  # fmt: skip

    def ask(self, request):
        """Send a request and return the reply."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            reply = self.process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            status = self.process.wait()
            self.errors.seek(0)
            lines = [line.strip() for line in self.errors if line.strip()]
            said = lines[-1] if lines else "no message"
            raise InputError(f"{self.name} in {self.precision} ended with status {status}: {said}")
        return json.loads(reply)

    def close(self):
        """End the process."""
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def _rows(net):
    """Return a net's rows; none where it has no rows, or some that are built here alone."""
    from graphcnn.nets import registry, sequential

    rows = registry.SEQUENTIAL.get(net, ())
    own = (sequential.AdaptiveAveragePool,)
    return () if any(isinstance(row, own) for row in rows) else rows


def job_of(recipe):
    """Return what a contestant is told first: {"recipe", "rows" of its net, sizes, …}, for JSON."""
    from graphcnn.nets import sequential
    from graphcnn.ops.tf1 import cpu

    return {
        "recipe": dataclasses.asdict(recipe),
        "rows": [[type(row).__name__, row._asdict()] for row in _rows(recipe.net)],
        "batch_norm_epsilon": sequential.NORMS[recipe.batch_norm_at].epsilon,
        "batch_size": recipe.batch_size,
        "image_size": recipe.image_size,
        "classes": CLASSES,
        "cores": cpu()["cores"],
    }


def _compare(values, recipe, peers):
    """Return the numbers of an alternating run of all contestants."""
    import numpy as np

    from graphcnn.benchmark import op_timings
    from graphcnn.common.progress import bar, say
    from graphcnn.graphs import graph
    from graphcnn.ops.tf1 import choose_precision, cpu

    inference = _portable(recipe)
    products = op_timings.products(inference)
    flops = {"inference": sum(each.flops for each in products), "training": op_timings.training_flops(products)}
    parameters = graph.count_parameters(inference)
    job = job_of(recipe)
    ours = {recipe.precision, "float32"}  # and the peers have whatever the CPU is good at
    precisions = {"graphcnn": ours, **dict.fromkeys(peers, ours | {choose_precision("auto")[0]})}
    pythons = {"graphcnn": sys.executable, **peers}
    wanted = [(name, each, pythons[name]) for name in pythons for each in sorted(precisions[name])]
    images = -(-values.images // values.rounds)
    with contextlib.ExitStack() as stack, bar("bench", len(wanted) * (1 + 2 * values.rounds)) as advance:
        contestants = {}
        for name, precision, python in wanted:
            each = Contestant(name, precision, python)
            stack.callback(each.close)
            each.about = each.ask(job)
            if each.about["parameters"] not in (None, parameters):
                raise InputError(f"{name}: its net has {each.about['parameters']} parameters, ours {parameters}")
            each.ask({"train": WARM_UP})
            contestants[f"{name} {precision}"] = each
            say(f"ready: {name} in {precision}, {each.about['versions']}")
            advance(1)
        seconds = {label: {"train": [], "evaluate": []} for label in contestants}
        for turn in range(1, values.rounds + 1):
            for label, each in contestants.items():
                seconds[label]["train"] += each.ask({"train": values.steps})
                advance(1)
            say(f"training, turn {turn}/{values.rounds} done")
        memory = {label: each.ask({"memory": True}) for label, each in contestants.items()}
        for each in contestants.values():
            each.ask({"evaluate": images})
        for turn in range(1, values.rounds + 1):
            for label, each in contestants.items():
                seconds[label]["evaluate"].append(each.ask({"evaluate": images}))
                advance(1)
            say(f"evaluation, turn {turn}/{values.rounds} done")
        peaks = {each.precision: each.ask({"peaks": True}) for each in contestants.values() if each.name == "graphcnn"}

    def numbers(label, kind, batch):
        times = [each / batch for each in seconds[label][kind]]
        rate = 1 / statistics.median(times)
        work = flops["training" if kind == "train" else "inference"]
        return {
            "seconds": seconds[label][kind],
            "images_per_second": rate,
            "slowest_and_fastest": [1 / float(np.max(times)), 1 / float(np.min(times))],
            "gflops_per_second": rate * work / 1e9,
        }

    table = {
        label: {
            **{key: each.about[key] for key in ("versions", "settings")},
            "train": numbers(label, "train", recipe.batch_size),
            "evaluate": numbers(label, "evaluate", images),
            "peak_memory_bytes": memory[label],
        }
        for label, each in contestants.items()
    }
    return {
        "recipe": values.recipe,
        "net": recipe.net,
        "batch_size": recipe.batch_size,
        "image_size": recipe.image_size,
        "classes": CLASSES,
        "parameters": parameters,
        "flops_per_image": flops,
        "machine": cpu(),
        "precision": recipe.precision,
        "peak_gflops_per_second": peaks,
        "rounds": values.rounds,
        "contestants": table,
        "ratios": ratios(table, recipe.precision, "train"),
        "evaluation_ratios": ratios(table, recipe.precision, "evaluate"),
    }


def ratios(table, precision, kind):
    """Return {name: graphcnn's median rate over the peer's} of the contestants in the table.

    pytorch_best, keras_best: graphcnn in `precision` over the peer's fastest. keras_default: over Keras in float32.
    pytorch_float32: float32 over float32.
    """
    rates = {label: row[kind]["images_per_second"] for label, row in table.items()}
    found = {}
    for peer in PEERS:
        theirs = [rate for label, rate in rates.items() if label.startswith(peer)]
        if theirs:
            found[f"{peer}_best"] = rates[f"graphcnn {precision}"] / max(theirs)
    if "pytorch float32" in rates:
        found["pytorch_float32"] = rates["graphcnn float32"] / rates["pytorch float32"]
    if "keras float32" in rates:
        found["keras_default"] = rates[f"graphcnn {precision}"] / rates["keras float32"]
    return found


def _print(results):
    from rich.table import Table

    from graphcnn.common.progress import console, say

    flops = results["flops_per_image"]
    say(
        f"{results['net']}, {results['parameters']:,} parameters, batch {results['batch_size']}, "
        f"{results['image_size']}x{results['image_size']}; {results['machine']['cores']} cores of "
        f"{results['machine']['model']}"
    )
    say(f"an image: {flops['training'] / 1e6:,.0f} MFLOP in training, {flops['inference'] / 1e6:,.0f} in evaluation")
    for precision, peak in results["peak_gflops_per_second"].items():
        say(f"this machine, {precision}: matmul {peak['matmul']:.0f} GFLOP/s, convolution {peak['convolution']:.0f}")
    table = Table("contestant", "version", "settings")
    for title in ("training images/s", "lowest to highest", "GFLOP/s", "evaluation images/s", "peak memory"):
        table.add_column(title, justify="right")
    for label, row in results["contestants"].items():
        slowest, fastest = row["train"]["slowest_and_fastest"]
        table.add_row(
            label,
            row["versions"],
            row["settings"],
            f"{row['train']['images_per_second']:.0f}",
            f"{slowest:.0f} to {fastest:.0f}",
            f"{row['train']['gflops_per_second']:.0f}",
            f"{row['evaluate']['images_per_second']:.0f}",
            f"{row['peak_memory_bytes'] / 1e9:.2f} GB",
        )
    _show(table)
    names = {
        "pytorch_best": "PyTorch's best",
        "pytorch_float32": "PyTorch float32 (float32 here too)",
        "keras_default": "Keras's default fit",
        "keras_best": "Keras's best",
    }
    for name, text in names.items():
        if name in results["ratios"]:
            training, evaluation = results["ratios"][name], results["evaluation_ratios"][name]
            console.print(f"{training:.2f} x {text} in training, {evaluation:.2f} x in evaluation")


def _show(table):
    """Print a rich table, as wide as it needs to be in a log."""
    from rich.console import Console

    from graphcnn.common.progress import console

    (console if console.is_terminal else Console(width=160, highlight=False)).print(table)


def _portable(recipe):
    """Return the recipe's inference Graph of tf.nn's operations alone, whose products can be counted."""
    from graphcnn.graphs import graph

    return graph.build_inference(recipe, (recipe.image_size, recipe.image_size), CLASSES, portable=True)


def _profile(recipe):
    """Print where a training step's time goes."""
    import numpy as np
    from rich.table import Table

    from graphcnn.benchmark import implementations, op_timings
    from graphcnn.common.progress import say
    from graphcnn.data.batches import as_rgb
    from graphcnn.graphs import graph
    from graphcnn.ops.tf1 import session

    job = {"batch_size": recipe.batch_size, "image_size": recipe.image_size, "classes": CLASSES}
    images, labels = implementations.images_and_labels(job)
    normalisation = np.full(3, implementations.MEAN), np.full(3, implementations.SCALE)
    built = graph.build_training(recipe, images.shape[1:3], CLASSES, normalisation, implementations.PLANNED_STEPS)
    layers = list(dict.fromkeys(v.op.name.rpartition("/")[0] for v in built.variables if v.trainable))
    feed = {built.x: as_rgb(images[: recipe.batch_size]), built.y: labels[: recipe.batch_size]}
    feed |= {built.keep_prob: recipe.keep_prob}
    fetches = [built.loss, built.cross_entropy, built.train_op]
    untraced = []
    with session(built.graph) as running:
        running.run(built.init)
        for _ in range(2 * WARM_UP):
            began = time.perf_counter()
            running.run(fetches, feed)
            untraced.append(1e3 * (time.perf_counter() - began))
        by_op, by_layer = op_timings.trace(running, fetches, feed, layers)
    total = sum(spent for _, spent, _ in by_op)
    say(
        f"{recipe.net}, batch {recipe.batch_size}, {recipe.precision}: {total:.1f} ms of ops in a traced step; "
        f"{statistics.median(untraced[WARM_UP:]):.1f} ms from feed to result in one without the trace"
    )
    table = Table("op type")
    for title in ("ops", "ms", "share"):
        table.add_column(title, justify="right")
    for kind, spent, count in by_op:
        if spent >= total / 1000:
            table.add_row(kind, f"{count:.0f}", f"{spent:.2f}", f"{spent / total:.1%}")
    _show(table)
    table = Table("layer")
    for title in (*op_timings.PHASES, "ms", "share"):
        table.add_column(title, justify="right")
    for layer, phases in by_layer:
        spent = sum(phases.values())
        table.add_row(layer, *(f"{phases[p]:.2f}" for p in op_timings.PHASES), f"{spent:.2f}", f"{spent / total:.1%}")
    _show(table)
    return 0


def _forms(recipe):
    """Print both forms' times for the net's convolutions."""
    from rich.table import Table

    from graphcnn.benchmark import op_timings
    from graphcnn.common.progress import bar, say
    from graphcnn.ops import kernels
    from graphcnn.ops.tf1 import tf

    found = [each for each in op_timings.products(_portable(recipe)) if each.sides]
    convolutions = {
        (each.sides, each.weights): each
        for each in found
        if each.weights[0] in (3, 5) or each.weights[0] >= kernels.SPECTRAL_FROM
    }
    table = Table("map", "kernel")
    for title in ("forward", "input gradient", "filter gradient"):
        table.add_column(f"{title}, ms: tf.nn, other form, ratio", justify="right")
    with bar("forms", len(convolutions)) as advance:
        for (sides, weights), each in convolutions.items():
            found = op_timings.forms(each, recipe.batch_size, tf.as_dtype(recipe.precision)).values()
            cells = [f"{a:.2f} {b:.2f} {a / b:.2f}{'*' if chosen else ' '}" for a, b, chosen in found]
            table.add_row(f"{sides[0]}x{sides[1]}", "x".join(map(str, weights)), *cells)
            advance(1)
    say(f"batch {recipe.batch_size}, {recipe.precision}; * the other form is chosen, by the shape alone")
    _show(table)
    return 0


if __name__ == "__main__":
    sys.exit(flags.run_command("bench", __doc__, define_flags(), main))
