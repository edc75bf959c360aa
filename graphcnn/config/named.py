"""The named recipes of --recipe. The recipes of experiments are in graphcnn/config/suites/."""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn.config.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class NamedRecipe:
    """A recipe that --recipe can name.

    Attributes:
        recipe: the settings.
        description: what is trained, and the source of its settings.
        published: the dev macro F1 score that the source reports, or None.
    """

    recipe: Recipe
    description: str
    published: float | None = None


def default_recipe(source: str) -> str:
    """Return the name of the recipe that is trained on a data source without --recipe."""
    return "digits" if source == "digits" else "assignment"


RECIPES = {
    # ./run.sh train --data=DIR
    # Published: dev macro F1 0.760 on the original CIFAR-10. On a JPEG copy: 0.732 (docs/guides/assignment.md).
    "assignment": NamedRecipe(
        recipe=Recipe(),
        description="the assignment's final network, with the settings of its report",
        published=0.760370,
    ),
    # ./run.sh train
    # Dev macro F1 0.997 with seed 51 (README.md).
    "digits": NamedRecipe(
        recipe=Recipe(epochs=16, batch_size=32, learning_rate=3e-4),
        description="the assignment's network for the 1,078 training images of scikit-learn's digits: smaller batches, "
        "a lower learning rate and fewer epochs",
    ),
    # ./run.sh train --recipe=zoo --data=DIR --net=NAME
    "zoo": NamedRecipe(
        recipe=Recipe(
            net="resnet50_v2",
            image_size=160,
            init="he",
            bias_init="zeros",
            normalisation="torch",
            warmup_steps=300,
            batch_size=32,
            epochs=30,
            l2=0.0,
            keep_prob=1.0,
            stop_on="nothing",
        ),
        description="an ImageNet network from random weights, at 160 pixels, which two cores can train",
    ),
    # ./run.sh train --recipe=transfer --data=DIR
    # 3,457 photos of flowers: dev macro F1 0.776, with fine-tuning 0.826 (docs/results/transfer.md).
    "transfer": NamedRecipe(
        recipe=Recipe(
            net="efficientnet_lite0",
            weights="imagenet",
            head="pooled",
            freeze="backbone",
            freeze_batch_norm=True,
            image_size=224,
            init="he",
            bias_init="zeros",
            normalisation="lite",
            optimizer="adam",
            learning_rate=3e-3,
            finetune_learning_rate=5e-4,
            warmup_steps=20,
            schedule="linear",
            label_smoothing=0.1,
            batch_size=32,
            epochs=100,
            l2=0.01,
            keep_prob=0.5,
            stop_on="nothing",
        ),
        description="a new head for an ImageNet network with published weights; --finetune_epochs adds fine-tuning",
    ),
    # ./run.sh train --recipe=fast --data=DIR, then ./run.sh eval --tta
    # On a JPEG copy of CIFAR-10, seed 51, two cores of an AMD EPYC with AVX512-BF16 (docs/results/fast-recipe.md):
    #   --epochs=2                     37 s, dev macro F1 0.826
    #   --dev_fraction=0.1 --epochs=6  122 s, 0.880
    #   --dev_fraction=0.1             195 s, 0.891, with --tta 0.901
    "fast": NamedRecipe(
        recipe=Recipe(
            net="vgg6",
            normalisation="standardize",
            whitening_patch_size=2,
            init="dirac",
            activation="silu",
            batch_norm=True,
            flip="alternating",
            translate=2,
            early_size=20,
            early_fraction=0.5,
            optimizer="muon",
            learning_rate=1.7,
            bias_lr_multiplier=30.0,
            momentum=0.85,
            muon_learning_rate=0.12,
            muon_momentum=0.6,
            warmup_steps=0,
            schedule="linear",
            label_smoothing=0.2,
            batch_size=250,
            epochs=9,
            l2=0.0,
            keep_prob=1.0,
            stop_on="nothing",
        ),
        description="a small network that trains in minutes on a CPU, based on airbench94 and its Muon variant (arXiv "
        "2404.00498)",
    ),
}
