"""The labels of classes in pictures. The font of the pictures lacks some characters, such as Chinese ones and emoji."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphcnn.common.text import printable, shortened
from graphcnn.evaluation.figure import can_draw

LONGEST = 24  # characters of a name in a picture
MOST = 30  # names in a legend


def class_labels(class_names: Sequence[str]) -> list[str]:
    """Return the label of each class in a picture.

    The labels are the names if the font has their characters and no name is longer than LONGEST. Otherwise a label is
    the class number and the cut name, "3: a very long na…ast word", or only the number if the font lacks a character.
    """
    names = [printable(name) for name in class_names]
    if all(len(name) <= LONGEST and can_draw(name) for name in names):
        return names
    return [f"{n}: {shortened(name, LONGEST)}" if can_draw(name) else str(n) for n, name in enumerate(names)]


def legend(class_names: Sequence[str], shown: Iterable[int]) -> str:
    """Return a line with the names of the shown classes whose labels lack a part of the name; "" if there are none.

    Args:
        class_names: names of all classes.
        shown: the classes in the picture.
    """
    labels = class_labels(class_names)
    cut = [k for k in sorted(set(shown)) if labels[k] not in (class_names[k], f"{k}: {class_names[k]}")]
    listed = ", ".join(f"{k} = {class_names[k]}" for k in cut[:MOST]) + ", …" * (len(cut) > MOST)
    reason = "a name is long, or their font lacks a character of it"
    return f"the pictures show class numbers, because {reason}: {listed}" if cut else ""
