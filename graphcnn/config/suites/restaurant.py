"""Restaurant photos: Keras networks on 45,000 photos at 300x300 (docs/reports.md).

    ./run.sh experiments --suite=restaurant --data=DIR --epochs=30 --batch_size=32 --jobs=2

The published validation accuracies are 90 % to 95 %. graphcnn does not contain the original photos. Expect 0.52 to 0.63
test accuracy on 171 photos of ants and bees, trained from random weights (docs/results/restaurant.md).
"""

from __future__ import annotations

from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Claim, Experiment, Suite

RESTAURANT = Suite(
    source="restaurant photos at 300x300; the optimizer, the learning rate and what the report leaves open are choices "
    "of this suite",
    unit="validation accuracy %",
    base=Recipe(
        net="photos_three",
        image_size=300,
        normalisation="unit",
        bias_init="zeros",
        warmup_steps=0,
        batch_size=32,
        epochs=20,
        l2=0.0,
        keep_prob=1.0,
        stop_on="nothing",
    ),
    dev_fraction=0.3,
    experiments={
        "model_1": Experiment(
            description="three convolutions with 32, 128 and 512 filters",
            published=(91, 92),
        ),
        "model_2_1": Experiment(
            parent="model_1",
            description="four convolutions with 16 to 128 filters, the first two with stride 2",
            change={"net": "photos_strided"},
            published=90,
        ),
        "model_2_2": Experiment(
            parent="model_2_1",
            description="a hidden dense layer",
            change={"net": "photos_strided_two_dense"},
            published=90,
        ),
        "model_2_3": Experiment(
            parent="model_2_2", description="batch size 64", change={"batch_size": 64}, published=91
        ),
        "model_2_4": Experiment(
            parent="model_2_3", description="batch size 128", change={"batch_size": 128}, published=92
        ),
        "model_2_5": Experiment(
            parent="model_2_4",
            description="batch size 256, 50 epochs",
            change={"batch_size": 256, "epochs": 50},
            published=94,
        ),
        "model_3_1": Experiment(
            parent="model_2_5",
            description="six convolutions with stride 1, one dense layer",
            change={"net": "photos_six", "micro_batch": 32},
            published=95,
        ),
        "model_3_2": Experiment(
            parent="model_3_1", description="raw pixels", change={"normalisation": "none"}, published=(91, 92)
        ),
        "model_4": Experiment(
            parent="model_3_1",
            description="seven convolutions, SAME padding",
            change={"net": "photos_seven"},
            published=(94, 95),
        ),
        "model_3_3": Experiment(
            parent="model_3_1",
            description="batch norm, dropout 0.3 and batch size 32; the report has its code but no score",
            change={
                "batch_norm": True,
                "batch_norm_position": "after",
                "keep_prob": 0.7,
                "batch_size": 32,
                "micro_batch": 0,
            },
        ),
    },
    claims=(
        Claim(
            description="stride 2 takes less than two thirds as long",
            measure="epoch_seconds",
            experiment="model_2_1",
            sign="<",
            others=("model_1",),
            factor=2 / 3,
        ),
        Claim(
            description="larger batches and more epochs help",
            experiment="model_2_5",
            sign=">",
            others=("model_2_2", "model_2_3", "model_2_4"),
        ),
        Claim(
            description="six convolutions are best",
            experiment="model_3_1",
            sign=">",
            others=("model_1", "model_2_1", "model_2_2", "model_2_3", "model_2_4", "model_2_5"),
        ),
        Claim(description="normalisation helps", experiment="model_3_1", sign=">", others=("model_3_2",)),
        Claim(description="a seventh convolution does not help", experiment="model_4", sign="<", others=("model_3_1",)),
    ),
)
