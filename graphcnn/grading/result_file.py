"""result.npy of a submission. N images, K classes."""

from __future__ import annotations

import io
import warnings

import numpy as np

from graphcnn.common.errors import InputError, RefusedSubmission
from graphcnn.data.npy import parse_header
from graphcnn.evaluation.probability_checks import check_probabilities
from graphcnn.grading.contents import RESULT, Contents

HEADER_BYTES = 1 << 16  # largest header
ITEM_BYTES = (2, 4, 8)  # of float16, float32 and float64


def read_result(contents: Contents, rows: int, classes: int) -> np.ndarray:
    """Return the softmax outputs of a submission, float32 or float64 [N, K]. Nothing in the file is executed.

    Args:
        contents: the files of the submission.
        rows: N.
        classes: K.

    Raises:
        RefusedSubmission: the file is missing, damaged or has another shape or type, a row is no probability
            distribution, or all rows are equal.
    """
    content = contents.read(RESULT, max(1 << 20, rows * classes * max(ITEM_BYTES) + HEADER_BYTES))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of headers that Python 2 wrote
            header = parse_header(RESULT, io.BytesIO(content))
    except InputError as error:
        raise RefusedSubmission(str(error)) from None
    expected = f"expected softmax outputs, float32 ({rows}, {classes})"
    if header.dtype.kind != "f" or header.dtype.itemsize not in ITEM_BYTES or header.shape != (rows, classes):
        labels = "labels, " if header.shape in ((rows,), (rows, 1)) else ""
        raise RefusedSubmission(f"{RESULT}: found {labels}{header.dtype} {_shape(header.shape)}, {expected}")
    if len(content) < header.offset + rows * classes * header.dtype.itemsize:
        raise RefusedSubmission(f"{RESULT}: truncated, it has {len(content):,} bytes; save it again")
    array = np.frombuffer(content, header.dtype, rows * classes, header.offset)
    result = array.reshape((rows, classes), order="F" if header.fortran_order else "C")
    result = result.astype(
        np.float64 if header.dtype.itemsize == 8 else np.float32
    )  # also in this machine's byte order
    try:
        check_probabilities(result, RESULT)
    except InputError as error:
        raise RefusedSubmission(str(error)) from None
    if rows > 1 and (result == result[0]).all():
        raise RefusedSubmission(f"{RESULT}: all rows are equal, so the outputs do not depend on the images")
    return result


def _shape(shape: tuple[int, ...]) -> str:
    """Return a shape as a short text; a hostile header can have a thousand dimensions."""
    return str(shape) if len(shape) <= 4 else f"of {len(shape)} dimensions"
