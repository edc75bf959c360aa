"""The optimizers of the benchmark in PyTorch. Muon is that of airbench94_muon (arXiv 2404.00498)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphcnn.config.recipe import Recipe

if TYPE_CHECKING:
    import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 3


class Optimizers:
    """PyTorch's optimizers of a recipe: one for Muon's kernels, if the recipe uses Muon, and one for all other weights.

    The learning rates are those of the first step after the warm-up.
    """

    def __init__(self, recipe: Recipe, weights: Sequence[torch.nn.Parameter], dtype: torch.dtype) -> None:
        import torch

        muon = [w for w in weights if w.dim() == 4] if recipe.optimizer == "muon" else []
        rate = recipe.learning_rate
        groups = [  # weight_decay adds l2 * w to the gradient, as the gradient of the L2 penalty does
            {"params": [w for w in weights if w.dim() > 1 and not (muon and w.dim() == 4)], "weight_decay": recipe.l2},
            {"params": [w for w in weights if w.dim() == 1], "lr": rate * recipe.bias_lr_multiplier},
        ]
        if recipe.optimizer == "adam":
            self.main: torch.optim.Optimizer = torch.optim.Adam(groups, lr=rate, fused=True)
        else:
            nesterov: dict[str, Any] = {"momentum": recipe.momentum, "nesterov": True}
            self.main = torch.optim.SGD(groups, lr=rate, fused=True, **(nesterov if muon else {}))
        self.muon = muon
        self.velocities = [torch.zeros_like(w) for w in muon]
        self.rate, self.momentum, self.l2 = recipe.muon_learning_rate, recipe.muon_momentum, recipe.l2
        self.dtype = dtype

    def zero_grad(self) -> None:
        """Forget the gradients of all weights."""
        self.main.zero_grad(set_to_none=True)
        for w in self.muon:
            w.grad = None

    def step(self) -> None:
        """Update all weights."""
        import torch

        self.main.step()
        with torch.no_grad():
            for w, velocity in zip(self.muon, self.velocities, strict=True):
                assert w.grad is not None
                gradient = w.grad.add(w, alpha=self.l2) if self.l2 else w.grad
                velocity.mul_(self.momentum).add_(gradient)
                update = orthogonalize(gradient.add(velocity, alpha=self.momentum).flatten(1).to(self.dtype))
                w.mul_(len(w) ** 0.5 / w.norm())
                w.add_(update.view(w.shape), alpha=-self.rate)


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """Return the matrix with its singular values near 1 and its singular vectors unchanged, by Newton-Schulz steps."""
    a, b, c = NEWTON_SCHULZ
    x = matrix / (matrix.norm() + 1e-7)
    x = x.T if len(x) > x.shape[1] else x
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if len(matrix) > matrix.shape[1] else x
