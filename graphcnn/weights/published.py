"""Published ImageNet weights of a net: a file that is downloaded, or a file in an installed package."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

from graphcnn.common.errors import DownloadFailed, InputError, WeightsUnavailable
from graphcnn.common.files import sha256_of
from graphcnn.common.progress import say
from graphcnn.data import cache, download
from graphcnn.nets.architecture import Packaged
from graphcnn.nets.registry import ARCHITECTURES
from graphcnn.weights.keras_hdf5 import read_keras
from graphcnn.weights.loaded import Fit, LoadedWeights, Origin, Shapes, check_finite
from graphcnn.weights.pytorch import read_torch, to_tensorflow


def load_published(net: str, shapes: Shapes, data_cache: str | None = None) -> LoadedWeights:
    """Return the published weights of a net. They are downloaded if they are not in the cache.

    Args:
        net: the net's name.
        shapes: {variable: shape} of the net, in the order in which it creates them.
        data_cache: the folder of downloads, None for the default.

    Raises:
        WeightsUnavailable: there are none, they cannot be downloaded, or their package is not installed.
        InputError: the file is damaged, or its checksum differs.
    """
    path = published_file(net, data_cache)
    published, normalisation = ARCHITECTURES[net].published, ARCHITECTURES[net].preprocessing
    assert published is not None  # published_file has refused a net without published weights
    if isinstance(published, Packaged):
        origin = Origin(published.requirement, published.sha256)
        return LoadedWeights(origin, normalisation, _fit_of_package(path, published, shapes))
    if published.md5 is None:
        say(f"{path.name}: Keras publishes no checksum of this file, so it is not verified")
    return LoadedWeights(Origin(published.url, sha256_of(path)), normalisation, read_keras(path, shapes))


def published_file(net: str, data_cache: str | None = None) -> Path:
    """Return the file of a net's published weights, downloaded if necessary.

    Args:
        net: the net's name.
        data_cache: the folder of downloads, None for the default.

    Raises:
        WeightsUnavailable: there are none, they cannot be downloaded, or their package is not installed.
        InputError: the checksum of the file differs.
    """
    architecture = ARCHITECTURES.get(net)
    if architecture is None or architecture.published is None:
        names = ", ".join(name for name, candidate in ARCHITECTURES.items() if candidate.published)
        raise WeightsUnavailable(
            net, f"--weights=imagenet: --net={net} has no published weights; expected --net to be one of: {names}"
        )
    published = architecture.published
    if isinstance(published, Packaged):
        return _package_file(net, published)
    path = cache.folder(data_cache) / "weights" / published.url.rpartition("/")[2]
    try:
        download.fetch(published.url, path, md5=published.md5)
    except DownloadFailed as error:
        raise WeightsUnavailable(net, str(error)) from None
    return path


def install_command(net: str) -> str | None:
    """Return the command that installs the package with a net's published weights; None if no package is missing."""
    architecture = ARCHITECTURES.get(net)
    published = architecture.published if architecture else None
    if not isinstance(published, Packaged) or _package_folder(published):
        return None
    return _install(published)


def _install(published: Packaged) -> str:
    return f"{shlex.quote(sys.executable)} -m pip install {published.requirement}"


def _package_folder(published: Packaged) -> Path | None:
    """Return the folder of an installed package; None if it is not installed. The package is not imported."""
    package = importlib.util.find_spec(published.requirement.partition("==")[0])
    folders = package and package.submodule_search_locations
    return Path(folders[0]) if folders else None


def _package_file(net: str, published: Packaged) -> Path:
    """Return the file of weights in an installed package."""
    folder, command = _package_folder(published), _install(published)
    if folder is None:
        raise WeightsUnavailable(
            net, f"--weights=imagenet: the weights of {net} are in a package that is not installed; run: {command}"
        )
    path = folder / published.file
    if not path.is_file() or sha256_of(path) != published.sha256:
        raise InputError(f"{path}: missing or not the expected file; run: {command} --force-reinstall")
    return path


def _fit_of_package(path: Path, published: Packaged, shapes: Shapes) -> Fit:
    """Read the PyTorch weights of a package that fit the net."""
    names = published.names()
    arrays = {
        names.get(name, name): to_tensorflow(array)
        for name, array in read_torch(path).items()
        if array.dtype.kind == "f"
    }
    values = {name: arrays[name] for name, shape in shapes.items() if name in arrays and arrays[name].shape == shape}
    check_finite(path, values)
    return Fit(values, {name: array.shape for name, array in arrays.items()})
