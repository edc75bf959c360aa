"""The only module that imports TensorFlow: graph mode, sessions, and the bfloat16 instructions of the CPU."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from graphcnn.common.processors import cores


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard what the block writes to stderr, including C++ code; print it if the block fails.

    TensorFlow prints notes during import that no setting turns off.
    """
    with tempfile.TemporaryFile() as output:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(output.fileno(), 2)
        try:
            yield
        except BaseException:
            output.seek(0)
            os.write(stderr, output.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only; they raise exceptions as well
with quiet_stderr():
    import tensorflow as tf

tf1 = tf.compat.v1
tf1.disable_control_flow_v2()  # a cond is Switch and Merge in the graph itself: no functions named by a counter
tf1.logging.set_verbosity(tf1.logging.ERROR)


def reason(error: Exception) -> str:
    """Return the line of the message of a TensorFlow error that names the cause."""
    lines = str(getattr(error, "message", None) or error).splitlines() or [type(error).__name__]
    nodes = [index for index, line in enumerate(lines) if line.lstrip().startswith("[[{{node") and index]
    return lines[nodes[0] - 1] if nodes else lines[0]


def session(graph: tf.Graph) -> tf.compat.v1.Session:
    """Return a Session of the graph on the CPU.

    One operation runs at a time, on all cores. For these nets that is faster than two operations at a time, and the
    order of the operations is fixed.
    """
    config = tf1.ConfigProto(
        inter_op_parallelism_threads=1,
        intra_op_parallelism_threads=cores(),
        device_count={"GPU": 0},
    )
    return tf1.Session(graph=graph, config=config)


def choose_precision(precision: str) -> tuple[str, str]:
    """Return ("float32" or "bfloat16", the reason in a few words) for Recipe.precision.

    auto means bfloat16 if the CPU has fast instructions for it (x86-64 with AMX or AVX512-BF16) and oneDNN, which uses
    these instructions, is on. On other CPUs, bfloat16 is slower than float32 in TensorFlow, or is not measured.

    Args:
        precision: auto, float32 or bfloat16.
    """
    instructions = cpu()["bfloat16"]
    if precision != "auto":
        slow = precision == "bfloat16" and instructions is None
        return precision, "as set" + (
            "; this CPU has no bfloat16 instructions, so float32 would be faster" if slow else ""
        )
    if instructions is None:
        return "float32", "auto: this CPU has no bfloat16 instructions"
    if not instructions.startswith(("amx", "avx512")):
        return "float32", f"auto: bfloat16 by {instructions} is not measured; --precision=bfloat16 tries it"
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower() in ("0", "false"):
        return "float32", "auto: TF_ENABLE_ONEDNN_OPTS turns off the bfloat16 kernels"
    return "bfloat16", f"auto: this CPU has {instructions}"


def cpu() -> dict[str, Any]:
    """Return {"model": str, "cores": int, "bfloat16": str or None} of this machine.

    "bfloat16" is the fastest instruction set for that type: amx_bf16, avx512_bf16 or, on Arm, bf16.
    """
    text = ""
    if platform.system() == "Linux":
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    elif platform.system() == "Darwin":
        names = ["machdep.cpu.brand_string", "hw.optional.arm.FEAT_BF16"]
        sysctl = subprocess.run(["sysctl", *names], capture_output=True, text=True, check=False)
        text = sysctl.stdout.replace("machdep.cpu.brand_string", "model name")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    sets = {"amx_bf16": r"\bamx_bf16\b", "avx512_bf16": r"\bavx512_bf16\b", "bf16": r"\bbf16\b|FEAT_BF16: 1"}
    supported = [name for name, pattern in sets.items() if re.search(pattern, text)]
    return {
        "model": model[1].strip() if model else platform.machine(),
        "cores": cores(),
        "bfloat16": supported[0] if supported else None,
    }


def with_signature(model: bytes, key: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Return a TensorFlow Lite model with a signature, which names its inputs and outputs in their order.

    Args:
        model: content of a .tflite file without signatures.
        key: name of the signature.
        inputs, outputs: names of the inputs and outputs of the first subgraph.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    parsed, schema = flatbuffer_utils.convert_bytearray_to_object(bytearray(model)), flatbuffer_utils.schema_fb
    signature, subgraph = schema.SignatureDefT(), parsed.subgraphs[0]
    signature.signatureKey, signature.subgraphIndex = key, 0
    for side, names in (("inputs", inputs), ("outputs", outputs)):
        maps = [schema.TensorMapT() for _ in names]
        for tensor, name, index in zip(maps, names, getattr(subgraph, side), strict=True):
            tensor.name, tensor.tensorIndex = name, int(index)
        setattr(signature, side, maps)
    parsed.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))
