"""The precision that is chosen for a machine."""

import pytest

from graphcnn.ops import tf1

CHOICES = {  # name: (Recipe.precision, the CPU's instructions, TF_ENABLE_ONEDNN_OPTS, chosen, words of the reason)
    "AMX": ("auto", "amx_bf16", None, "bfloat16", "auto: this CPU has amx_bf16"),
    "AVX512": ("auto", "avx512_bf16", "1", "bfloat16", "auto: this CPU has avx512_bf16"),
    "without": ("auto", None, None, "float32", "no bfloat16 instructions"),
    "Arm": ("auto", "bf16", None, "float32", "not measured"),
    "oneDNN off": ("auto", "amx_bf16", "0", "float32", "TF_ENABLE_ONEDNN_OPTS turns off"),
    "float32 asked": ("float32", "amx_bf16", None, "float32", "as set"),
    "bfloat16 asked": ("bfloat16", "amx_bf16", None, "bfloat16", "as set"),
    "bfloat16 asked without": ("bfloat16", None, None, "bfloat16", "float32 would be faster"),
}


@pytest.mark.parametrize(("precision", "instructions", "onednn", "chosen", "words"), CHOICES.values(), ids=CHOICES)
def test_choose_precision(precision, instructions, onednn, chosen, words, monkeypatch):
    monkeypatch.setattr(tf1, "cpu", lambda: {"model": "a CPU", "cores": 2, "bfloat16": instructions})
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if onednn:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    found, reason = tf1.choose_precision(precision)
    assert found == chosen
    assert words in reason


CPUINFO = {  # name: (flags of /proc/cpuinfo, the instruction set for bfloat16)
    "Sapphire Rapids": ("flags\t\t: avx512f avx512_bf16 amx_bf16 amx_tile", "amx_bf16"),
    "Zen 5": ("flags\t\t: avx512f avx512_bf16 avx512_vnni", "avx512_bf16"),
    "Haswell": ("flags\t\t: avx avx2 fma", None),
    "Neoverse V1": ("Features\t: asimd bf16 i8mm", "bf16"),
}


@pytest.mark.skipif(tf1.platform.system() != "Linux", reason="reads /proc/cpuinfo")
@pytest.mark.parametrize(("flags", "instructions"), CPUINFO.values(), ids=CPUINFO)
def test_cpu(flags, instructions, monkeypatch):
    monkeypatch.setattr(tf1, "cores", lambda: 3)
    monkeypatch.setattr(tf1.Path, "read_text", lambda path, errors: f"model name\t: A CPU\n{flags}\n")
    assert tf1.cpu() == {"model": "A CPU", "cores": 3, "bfloat16": instructions}
