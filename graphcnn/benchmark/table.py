"""The table and the lines that `bench` prints after the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from graphcnn.common.progress import print_table, say

RATIOS = {  # {key in bench.json: text}
    "pytorch_best": "PyTorch's best",
    "pytorch_float32": "PyTorch float32 (graphcnn in float32 too)",
    "keras_default": "Keras's default fit",
    "keras_best": "Keras's best",
}


def print_contest(results: Mapping[str, Any]) -> None:
    """Print the result of contest.run: the net, the machine, a row for each implementation, and the ratios."""
    flops, machine = results["flops_per_image"], results["machine"]
    say(
        f"{results['net']}, {results['parameters']:,} parameters, batch {results['batch_size']}, "
        f"{results['image_size']}x{results['image_size']}; {machine['cores']} cores of {machine['model']}"
    )
    say(
        f"FLOPs of an image: {flops['training'] / 1e6:,.0f} million in training, "
        f"{flops['inference'] / 1e6:,.0f} million in evaluation"
    )
    for precision, peak in results["peak_gflops_per_second"].items():
        say(
            f"peak of this machine in {precision}: matrix product {peak['matmul']:.0f} GFLOP/s, "
            f"convolution {peak['convolution']:.0f} GFLOP/s"
        )
    table = Table("implementation", "version", "settings")
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
    print_table(table)
    for name, text in RATIOS.items():
        if name in results["ratios"]:
            training, evaluation = results["ratios"][name], results["evaluation_ratios"][name]
            say(f"{training:.2f} x {text} in training, {evaluation:.2f} x in evaluation")
