"""Cartoon-face transfer: one dense layer on the features of ImageNet backbones, and three sweeps (docs/reports.md).

    ./run.sh experiments --suite=transfer --data=DIR

The published validation accuracies are 0.65 (MobileNetV2) to 0.988 (DenseNet201). graphcnn does not contain the cartoon
faces. A backbone starts from random weights if its published weights cannot be downloaded, and the report says so. On
photos, expect a dev macro F1 of 0.776 to 0.967 with the head alone (docs/results/transfer.md).
"""

from __future__ import annotations

from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Claim, Experiment, Suite

CAFFE = {"normalisation": "caffe"}  # for the published weights of VGG
TF = {"normalisation": "tf"}  # for those of MobileNet, Xception, Inception and ResNetV2
TORCH = {"normalisation": "torch"}  # for those of DenseNet
RMSPROP = {"optimizer": "rmsprop"}

FACES = Recipe(
    net="resnet50_v2",
    weights="imagenet",
    head="pooled",
    freeze="backbone",
    image_size=150,
    init="he",
    bias_init="zeros",
    normalisation="tf",
    learning_rate=1e-4,
    warmup_steps=0,
    batch_size=32,
    epochs=30,
    l2=0.0,
    keep_prob=0.6,
    stop_on="nothing",
)
BACKBONES = {
    "densenet201": Experiment(
        description="DenseNet201",
        change={"net": "densenet201", "keep_prob": 0.8, **TORCH, **RMSPROP},
        published=0.9884,
        other_scores={"dev_loss": 0.0684},
    ),
    "xception": Experiment(
        description="Xception, 150 px and dropout 0.4, as in its sweep",
        change={"net": "xception", **TF},
        published=(0.9809, 0.9822),
        other_scores={"dev_loss": 0.1217},
    ),
    "resnet152_v2": Experiment(
        description="ResNet152V2",
        change={"net": "resnet152_v2", "keep_prob": 0.5, **TF},
        published=0.9791,
        other_scores={"dev_loss": 0.0971},
    ),
    "resnet50_v2": Experiment(
        description="ResNet50V2, 150 px and 50 epochs, as in its sweep",
        change={"net": "resnet50_v2", "epochs": 50, **TF},
        published=0.9778,
        other_scores={"dev_loss": 0.1146},
    ),
    "inception_resnet_v2": Experiment(
        description="InceptionResNetV2",
        change={"net": "inception_resnet_v2", **TF},
        published=0.9738,
        other_scores={"dev_loss": 0.5949},
    ),
    "vgg19": Experiment(
        description="VGG19",
        change={"net": "vgg19", "keep_prob": 0.8, **CAFFE, **RMSPROP},
        published=0.9738,
        other_scores={"dev_loss": 0.1456},
    ),
    "vgg16": Experiment(
        description="VGG16",
        change={"net": "vgg16", "keep_prob": 0.8, **CAFFE, **RMSPROP},
        published=0.9693,
        other_scores={"dev_loss": 0.1315},
    ),
    "inception_v3": Experiment(
        description="InceptionV3, 10 epochs",
        change={"net": "inception_v3", "epochs": 10, **TF},
        published=0.9582,
        other_scores={"dev_loss": 0.1715},
    ),
    "mobilenet_v2": Experiment(
        description="MobileNetV2, 10 epochs",
        change={"net": "mobilenet_v2", "epochs": 10, **TF},
        published=0.6533,
        other_scores={"dev_loss": 1.0634},
    ),
}
SIMPLE_CNN = Experiment(
    description="four convolutions with 16 to 128 filters, from random weights",
    change={
        "net": "photos_four",
        "weights": "none",
        "head": "own",
        "freeze": "none",
        "normalisation": "unit",
        "keep_prob": 1.0,
    },
    published=0.8449,
    other_scores={"dev_loss": 0.6466},
)
RESNET_SWEEP = {
    f"resnet_{size}_{epochs}": Experiment(
        parent="resnet50_v2",
        description=f"{size} px, {epochs} epochs, dropout {1 - keep_prob:.1g}",
        change={"image_size": size, "epochs": epochs, "keep_prob": keep_prob},
        published=published,
    )
    for size, epochs, keep_prob, published in (
        (150, 20, 0.5, 0.976),
        (180, 20, 0.5, 0.976),
        (150, 30, 0.6, 0.960),
        (180, 30, 0.6, 0.960),
        (180, 50, 0.6, 0.9778),
    )
}
XCEPTION_SWEEP = {
    f"xception_{size}_{tenths}": Experiment(
        parent="xception",
        description=f"{size} px, dropout 0.{tenths}",
        change={"image_size": size, "keep_prob": 1 - tenths / 10},
        published=published,
    )
    for size, tenths, published in ((150, 5, 0.9462), (180, 4, 0.9787), (180, 5, 0.9524))  # scores of the best epochs
}
VGG_SWEEP = {
    f"vgg_{optimizer}_{tenths}": Experiment(
        parent="vgg16",
        description=f"10 epochs, {optimizer}, dropout 0.{tenths}",
        change={"epochs": 10, "optimizer": optimizer, "keep_prob": 1 - tenths / 10},
        published=published,
    )
    for optimizer, tenths, published in (
        ("adam", 2, 0.9538),
        ("adam", 3, 0.96),
        ("adam", 4, 0.9542),
        ("rmsprop", 2, 0.9613),
        ("rmsprop", 3, 0.9516),
        ("rmsprop", 4, 0.9596),
    )
}

TRANSFER = Suite(
    source="cartoon-face transfer: one dense layer on features of ImageNet backbones; the head, the dev fraction and "
    "the simple CNN are choices of this suite",
    unit="validation accuracy",
    base=FACES,
    dev_fraction=0.2,
    experiments={**BACKBONES, "simple_cnn": SIMPLE_CNN, **RESNET_SWEEP, **XCEPTION_SWEEP, **VGG_SWEEP},
    claims=(
        Claim(
            description="DenseNet201 is best",
            experiment="densenet201",
            sign=">",
            others=(*(name for name in BACKBONES if name != "densenet201"), "simple_cnn"),
        ),
        Claim(
            description="each backbone but MobileNetV2 beats the simple CNN",
            experiment="simple_cnn",
            sign="<",
            others=tuple(name for name in BACKBONES if name != "mobilenet_v2"),
        ),
        Claim(description="MobileNetV2 is worst", experiment="mobilenet_v2", sign="<", others=("simple_cnn",)),
        Claim(description="larger images help Xception", experiment="xception_180_4", sign=">", others=("xception",)),
        Claim(
            description="less dropout helps Xception",
            experiment="xception_180_4",
            sign=">",
            others=("xception_180_5",),
        ),
    ),
    columns={"dev_loss": "validation loss"},
)
