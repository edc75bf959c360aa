"""The one place that imports TensorFlow: graph mode, session settings, what the CPU can do."""

import contextlib
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path


@contextlib.contextmanager
def quiet_stderr():
    """Hold back what is written to stderr, also by C++ code; let it out if the block fails.

    TensorFlow prints notes on import that no setting turns off, and a user should see one line or none.
    """
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only; they raise exceptions as well
with quiet_stderr():
    import tensorflow as tf

tf1 = tf.compat.v1
tf1.disable_eager_execution()
tf1.disable_control_flow_v2()  # a cond is Switch and Merge in the graph itself: no functions named by a counter
tf1.logging.set_verbosity(tf1.logging.ERROR)


def reason(error):
    """Return what TensorFlow's error says, one line of the many that a failed operation's message has."""
    lines = str(getattr(error, "message", None) or error).splitlines() or [type(error).__name__]
    nodes = [place for place, line in enumerate(lines) if line.lstrip().startswith("[[{{node") and place]
    return lines[nodes[0] - 1] if nodes else lines[0]


def session(graph):
    """Return a Session for the graph, on the CPU.

    One operation runs at a time and takes all cores: faster here than two side by side, and a fixed order.
    """
    config = tf1.ConfigProto(
        inter_op_parallelism_threads=1,
        intra_op_parallelism_threads=cores(),
        device_count={"GPU": 0},
    )
    return tf1.Session(graph=graph, config=config)


def cores():
    """Return the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_precision(asked):
    """Return ("float32" or "bfloat16", the reason in a few words) for --precision=auto, float32 or bfloat16.

    auto is bfloat16 where the processor multiplies it and oneDNN, whose kernels use that, is on: x86-64 with AMX or
    AVX512-BF16. Elsewhere TensorFlow's bfloat16 is slower than its float32, or nobody has measured it.
    """
    instructions = cpu()["bfloat16"]
    if asked != "auto":
        slow = asked == "bfloat16" and instructions is None
        return asked, "as set" + ("; this CPU has no instructions for it, so float32 would be faster" if slow else "")
    if instructions is None:
        return "float32", "auto: this CPU has no bfloat16 instructions"
    if not instructions.startswith(("amx", "avx512")):
        return "float32", f"auto: bfloat16 by {instructions} is not measured; --precision=bfloat16 tries it"
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower() in ("0", "false"):
        return "float32", "auto: TF_ENABLE_ONEDNN_OPTS turns off the bfloat16 kernels"
    return "bfloat16", f"auto: this CPU has {instructions}"


def cpu():
    """Return {"model": str, "cores": int, "bfloat16": str or None} of this machine.

    bfloat16 is the best of the processor's instruction sets that multiply it: amx_bf16, avx512_bf16 or, on Arm, bf16.
    """
    text = ""
    if platform.system() == "Linux":
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    elif platform.system() == "Darwin":
        names = ["machdep.cpu.brand_string", "hw.optional.arm.FEAT_BF16"]
        asked = subprocess.run(["sysctl", *names], capture_output=True, text=True, check=False)
        text = asked.stdout.replace("machdep.cpu.brand_string", "model name")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    sets = {"amx_bf16": r"\bamx_bf16\b", "avx512_bf16": r"\bavx512_bf16\b", "bf16": r"\bbf16\b|FEAT_BF16: 1"}
    found = [name for name, pattern in sets.items() if re.search(pattern, text)]
    return {
        "model": model[1].strip() if model else platform.machine(),
        "cores": cores(),
        "bfloat16": found[0] if found else None,
    }
