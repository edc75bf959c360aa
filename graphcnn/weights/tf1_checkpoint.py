"""Weights from a checkpoint of any TF1 program: its prefix, and a map from its variable names to a net's."""

from __future__ import annotations

import glob
import hashlib
import json
from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.files import read_text, regular_size, sha256_of, update_digest
from graphcnn.config.setting_paths import is_built_in
from graphcnn.ops.tf1 import reason, tf1
from graphcnn.ops.wildcards import without_wildcards
from graphcnn.storage.foreign_checkpoint import check_reader
from graphcnn.weights.loaded import Fit, LoadedWeights, Origin, Shapes, check_finite

NAME_MAPS = Path(__file__).with_name("name_maps")
MAX_MAP_BYTES = 1 << 20  # maximum size of a name map
MAX_BYTES = 16 << 30  # maximum size of all files of a checkpoint together


def read_name_map(name: str) -> dict[str, str]:
    """Return {variable in the checkpoint: variable in the net} of a --name_map value; {} for "".

    Args:
        name: the name of a map of this package, or the path of a JSON file.

    Raises:
        InputError: there is no such map, or it is not an object of names.
    """
    if not name:
        return {}
    path = NAME_MAPS / f"{name}.json" if is_built_in(name) else Path(name)
    try:
        return _parse_name_map(json.loads(read_text(path, MAX_MAP_BYTES), object_pairs_hook=list))
    except (OSError, ValueError, RecursionError) as error:
        built_in = ", ".join(sorted(path.stem for path in NAME_MAPS.glob("*.json")))
        problem = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"--name_map={name}: {problem}; expected FILE.json or one of: {built_in}") from None


def _parse_name_map(pairs: object) -> dict[str, str]:
    """Return the map of a JSON object that was parsed as [(key, value)]; raise ValueError if it is not valid."""
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) and isinstance(pair[1], str) for pair in pairs):
        raise ValueError('expected an object of names, {"W1": "conv1_1/w", …}')
    pairs = [tuple(name.removesuffix(":0") for name in pair) for pair in pairs]
    for names in zip(*pairs, strict=True):
        if len(set(names)) < len(names):
            raise ValueError("two entries have the same variable; expected each variable once")
    return dict(pairs)


def load_checkpoint(prefix: Path, name_map: dict[str, str], shapes: Shapes) -> LoadedWeights:
    """Return the weights of a checkpoint.

    Args:
        prefix: the checkpoint's absolute prefix.
        name_map: {variable in the checkpoint: variable in the net}. Other variables keep their names.
        shapes: {variable: shape} of the net.

    Raises:
        InputError: the checkpoint is damaged or too large, or a weight is not finite.
    """
    files = sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.*[x0-9]"))  # .index, .data-00000-of-00001
    if sum(map(regular_size, files)) > MAX_BYTES:
        raise InputError(
            f"--weights={prefix}: the files have more than {MAX_BYTES >> 30} GiB; use a smaller checkpoint"
        )
    check_reader(prefix, sha256_of(Path(f"{prefix}.index")))
    try:
        with without_wildcards(prefix) as readable:
            reader = tf1.train.NewCheckpointReader(readable)
            stored = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
            sources = {name: name for name in sorted(stored) if name not in name_map}  # {net: checkpoint}
            sources |= {variable: name for name, variable in name_map.items() if name in stored}  # the map wins
            fits = {variable: name for variable, name in sources.items() if shapes.get(variable) == stored[name]}
            values = {variable: np.asarray(reader.get_tensor(name), np.float32) for variable, name in fits.items()}
    except Exception as error:  # TensorFlow raises many types of errors for damaged files
        raise InputError(f"--weights={prefix}: damaged, or not a checkpoint ({reason(error)})") from None
    check_finite(prefix, values)
    digest = hashlib.sha256(json.dumps(sorted(name_map.items())).encode())
    for path in files:
        update_digest(digest, path)
    listed = {variable: stored[name] for variable, name in sources.items() if name in name_map or variable in shapes}
    listed = listed if fits else {name: stored[name] for name in sorted(stored)}
    return LoadedWeights(Origin(str(prefix), digest.hexdigest()), None, Fit(values, listed))
