"""The assignment: networks of a graded course assignment on CIFAR-10 (docs/reports.md).

    ./run.sh experiments --suite=assignment --data=DIR

Expect: the published dev macro F1 is 0.51 for two convolutions and 0.76 for the final network, on the original images.
Measured on a JPEG copy: 0.71 for two_conv_stopped; 0.50 for the final network after 8 epochs and 0.67 after 38. So a
comparison needs all 50 epochs (docs/results/assignment.md).
"""

from __future__ import annotations

from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Claim, Experiment, Suite

ASSIGNMENT = Suite(
    source="the assignment, on CIFAR-10; standardised pixels, the warm-up, and no L2 for one and two convolutions, are "
    "choices of this suite",
    unit="dev F1",
    base=Recipe(normalisation="standardize", warmup_steps=300),
    dev_fraction=0.25,
    experiments={
        "one_conv": Experiment(
            description="convolution 5x5 with 64 filters, pool 3x3 with stride 2, dense: the baseline of the course",
            change={"net": "one_conv", "l2": 0.0, "keep_prob": 1.0},
        ),
        "two_conv": Experiment(
            parent="one_conv",
            description="a second convolution, 16x16 with 128 filters, and its pool; 15 epochs",
            change={"net": "two_conv", "epochs": 15, "stop_on": "nothing"},
            published=0.505674,
        ),
        "two_conv_dropout": Experiment(
            parent="two_conv",
            description="dropout after both pools",
            change={"keep_prob": 0.6},
            published=0.573845,
        ),
        "two_conv_stopped": Experiment(
            parent="two_conv_dropout",
            description="at most 50 epochs, early stopping with patience 5",
            change={"epochs": 50, "stop_on": "loss"},
            published=0.616821,
        ),
        "final": Experiment(
            description="nine convolutions in four stages, three dense layers",
            published=0.760370,
        ),
        "no_256": Experiment(
            parent="final",
            description="without the stage of 256 filters and its pool",
            change={"net": "vgg_no_256"},
            published=(0.715190, 0.738178),
        ),
        "no_512": Experiment(
            parent="final",
            description="without the stage of 512 filters and its pool",
            change={"net": "vgg_no_512"},
            published=0.748226,
        ),
        "one_dense": Experiment(
            parent="final",
            description="only the last of the three dense layers",
            change={"net": "vgg_one_dense"},
            published=0.754192,
        ),
    },
    claims=(
        Claim(description="dropout helps two_conv", experiment="two_conv_dropout", sign=">", others=("two_conv",)),
        Claim(
            description="more epochs help two_conv",
            experiment="two_conv_stopped",
            sign=">",
            others=("two_conv_dropout",),
        ),
        Claim(
            description="depth helps", experiment="final", sign=">", others=("one_conv", "two_conv", "two_conv_stopped")
        ),
        Claim(description="the 256-filter stage helps", experiment="final", sign=">", others=("no_256",)),
        Claim(description="the 512-filter stage helps", experiment="final", sign=">", others=("no_512",)),
        Claim(description="the two dense layers help", experiment="final", sign=">", others=("one_dense",)),
    ),
)
