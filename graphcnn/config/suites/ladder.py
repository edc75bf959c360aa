"""CIFAR-10 ladder: Keras networks that each change one thing (docs/reports.md).

    ./run.sh experiments --suite=ladder --data=cifar10 --epochs=40 --batch_size=128 --jobs=2

Expect, on a JPEG copy: dev macro F1 from 0.649 (four_layer_1) to 0.823 (vgg_like_augment_1), nearly in the published
order (Spearman's rank correlation 0.947); ten of eleven conclusions hold (docs/results/ladder.md). The published scores
are test accuracies after 300 epochs with a batch size of 512.
"""

from __future__ import annotations

from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Claim, Experiment, Suite

BATCH_NORM = {"batch_norm": True, "batch_norm_position": "after"}
SHIFT_AND_FLIP = {"translate": 3, "flip": "random"}  # 0.1 of 32 pixels

LADDER = Suite(
    source="the CIFAR-10 ladder, whose scores are on the test split, at the end of a training or at its best epoch; "
    "the dev fraction of 0.2 and mirrored edges in shifts are choices of this suite",
    unit="test accuracy %",
    base=Recipe(  # the defaults of Keras where the report says nothing
        net="four_layer",
        normalisation="unit",
        bias_init="zeros",
        warmup_steps=0,
        batch_size=512,
        epochs=300,
        l2=0.0,
        keep_prob=1.0,
        stop_on="nothing",
    ),
    dev_fraction=0.2,
    experiments={
        "four_layer_1": Experiment(
            description="three convolutions with 32 filters, raw pixels",
            change={"normalisation": "none"},
            published=63.00,
        ),
        "four_layer_2": Experiment(
            description="pixels divided by 255",
            parent="four_layer_1",
            change={"normalisation": "unit"},
            published=72.87,
        ),
        "six_layer_1": Experiment(
            description="a fourth convolution", parent="four_layer_2", change={"net": "six_layer_1"}, published=70.27
        ),
        "six_layer_2": Experiment(
            description="16 to 256 filters in five stages",
            parent="four_layer_2",
            change={"net": "six_layer_2"},
            published=73.0,
        ),
        "six_layer_3": Experiment(
            description="32 to 128 filters in five stages",
            parent="four_layer_2",
            change={"net": "six_layer_3"},
            published=74.77,
        ),
        "seven_layer_1": Experiment(
            description="a hidden dense layer with 128 units",
            parent="six_layer_3",
            change={"net": "seven_layer"},
            published=75.02,
        ),
        "weight_init_1": Experiment(
            description="convolutions with He-uniform initial weights",
            parent="seven_layer_1",
            change={"init": "he"},
            published=72.94,
        ),
        "batch_norm_1": Experiment(
            description="batch norm after each ReLU", parent="seven_layer_1", change=BATCH_NORM, published=77.27
        ),
        "dropout_1": Experiment(
            description="dropout 0.3 after each pool and the hidden dense layer",
            parent="seven_layer_1",
            change={"keep_prob": 0.7},
            published=80.67,
        ),
        "complex_1": Experiment(
            description="batch norm and dropout", parent="dropout_1", change=BATCH_NORM, published=82.98
        ),
        "complex_2": Experiment(
            description="batch norm, dropout and He-uniform initial weights",
            parent="complex_1",
            change={"init": "he"},
            published=83.75,
        ),
        "augment_1": Experiment(
            description="shifts of up to 0.1 and random flips",
            parent="complex_2",
            change=SHIFT_AND_FLIP,
            published=81.40,
        ),
        "vgg_like_1": Experiment(
            description="two convolutions in place of each convolution",
            parent="complex_2",
            change={"net": "seven_layer_doubled"},
            published=85.87,
        ),
        "vgg_like_augment_1": Experiment(
            description="shifts of up to 0.1 and random flips",
            parent="vgg_like_1",
            change=SHIFT_AND_FLIP,
            published=89.02,
        ),
        # Experiments that the authors planned, and combinations that they did not try
        "norm_before": Experiment(
            description="batch norm without scale before the ReLU of each convolution",
            parent="seven_layer_1",
            change={**BATCH_NORM, "batch_norm_position": "before"},
        ),
        "dropout_he": Experiment(
            description="dropout and He-uniform initial weights", parent="dropout_1", change={"init": "he"}
        ),
        "norm_he": Experiment(
            description="batch norm and He-uniform initial weights", parent="batch_norm_1", change={"init": "he"}
        ),
        "dense_only": Experiment(
            description="dense layers with 512 and 256 units and no convolution",
            parent="four_layer_2",
            change={"net": "dense_only"},
        ),
        "batch_128": Experiment(description="batch size 128", parent="complex_2", change={"batch_size": 128}),
        "batch_2048": Experiment(description="batch size 2048", parent="complex_2", change={"batch_size": 2048}),
        "rate_3e-4": Experiment(description="learning rate 0.0003", parent="complex_2", change={"learning_rate": 3e-4}),
        "rate_3e-3": Experiment(description="learning rate 0.003", parent="complex_2", change={"learning_rate": 3e-3}),
    },
    claims=(
        Claim(description="dividing by 255 helps", experiment="four_layer_2", sign=">", others=("four_layer_1",)),
        Claim(description="five stages beat three", experiment="six_layer_3", sign=">", others=("four_layer_2",)),
        Claim(description="a hidden dense layer helps", experiment="seven_layer_1", sign=">", others=("six_layer_3",)),
        Claim(
            description="He-uniform alone does not help",
            experiment="weight_init_1",
            sign="<",
            others=("seven_layer_1",),
        ),
        Claim(description="batch norm helps", experiment="batch_norm_1", sign=">", others=("seven_layer_1",)),
        Claim(description="dropout helps", experiment="dropout_1", sign=">", others=("seven_layer_1",)),
        Claim(
            description="dropout cuts the train-dev gap by more than half",
            measure="gap",
            experiment="dropout_1",
            sign="<",
            others=("seven_layer_1",),
            factor=0.5,
        ),
        Claim(
            description="batch norm, dropout and He-uniform together beat each alone",
            experiment="complex_2",
            sign=">",
            others=("batch_norm_1", "dropout_1", "weight_init_1"),
        ),
        Claim(
            description="augmentation does not help before doubling",
            experiment="augment_1",
            sign="<",
            others=("complex_2",),
        ),
        Claim(description="doubling helps", experiment="vgg_like_1", sign=">", others=("complex_2",)),
        Claim(
            description="doubling with augmentation is best",
            experiment="vgg_like_augment_1",
            sign=">",
            others=(
                "four_layer_1",
                "four_layer_2",
                "six_layer_1",
                "six_layer_2",
                "six_layer_3",
                "seven_layer_1",
                "weight_init_1",
                "batch_norm_1",
                "dropout_1",
                "complex_1",
                "complex_2",
                "augment_1",
                "vgg_like_1",
            ),
        ),
    ),
)
