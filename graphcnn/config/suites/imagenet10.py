"""ImageNet-10: six architectures on ten classes of ImageNet (docs/reports.md).

    ./run.sh experiments --suite=imagenet10 --data=DIR

The published top-1 accuracies are 36 % (GoogLeNet) to 71.2 % (EfficientNet). The report compares each score with the
published one. graphcnn does not contain the images. Expect days of training on two cores for the whole suite.
"""

from __future__ import annotations

from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Claim, Experiment, Suite

IMAGENET10 = Suite(
    source="ImageNet-10; its ResNet had pretrained weights; batch sizes and learning rates that the report does not "
    "give, and the amount of augmentation, are choices of this suite",
    unit="top-1 %",
    base=Recipe(
        net="vgg16",
        image_size=224,
        init="he",
        bias_init="zeros",
        normalisation="standardize",
        warmup_steps=50,
        batch_size=32,
        epochs=25,
        l2=0.0,
        learning_rate=1e-4,
        keep_prob=0.5,
        rotate=15,
        zoom=0.1,
        shear=5,
        stop_on="nothing",
    ),
    dev_fraction=0.2,
    experiments={
        "alexnet": Experiment(
            description="AlexNet, SGD with a weight decay of 0.0005",
            change={
                "net": "alexnet",
                "image_size": 227,
                "batch_size": 128,
                "epochs": 90,
                "optimizer": "sgd",
                "learning_rate": 0.01,
                "l2": 0.0005,
            },
            published=44.4,
            other_scores={
                "train_accuracy": 0.713,
                "train_loss": 0.886,
                "dev_accuracy": 0.684,
                "dev_loss": 98.5,
                "test_loss": 3.974,
                "test_accuracy": 0.444,
                "test_top2_accuracy": 0.604,
                "test_macro_f1": 0.457,
            },
        ),
        "alexnet_adam": Experiment(
            parent="alexnet",
            description="Adam with a learning rate of 0.001",
            change={"optimizer": "adam", "learning_rate": 1e-3, "l2": 0.0},
        ),
        "vgg": Experiment(
            description="VGG16",
            published=69.6,
            other_scores={
                "train_accuracy": 0.863,
                "train_loss": 0.536,
                "dev_accuracy": 0.678,
                "dev_loss": 0.97,
                "test_loss": 0.961,
                "test_accuracy": 0.696,
                "test_top2_accuracy": 0.852,
                "test_macro_f1": 0.7,
            },
        ),
        "googlenet": Experiment(
            description="GoogLeNet with its auxiliary classifiers",
            change={"net": "googlenet", "learning_rate": 1e-5, "batch_size": 16, "keep_prob": 0.6},
            published=36.0,
            other_scores={
                "train_loss": 2.59,
                "dev_accuracy": 0.38,
                "dev_loss": 1.627,
                "test_loss": 1.44,
                "test_accuracy": 0.36,
                "test_top2_accuracy": 0.6,
                "test_macro_f1": 0.287,
            },
        ),
        "resnet": Experiment(
            description="ResNet50 with pretrained weights",
            change={"net": "resnet50", "weights": "imagenet", "head": "pooled", "normalisation": "caffe"},
            other_scores={
                "train_accuracy": 0.83,
                "train_loss": 0.534,
                "dev_accuracy": 0.69,
                "dev_loss": 0.917,
                "test_loss": 0.895,
                "test_macro_f1": 0.7,
            },
        ),
        "resnext": Experiment(
            description="ResNeXt50 32x4d, whose bottleneck the report shows", change={"net": "resnext50_32x4d"}
        ),
        "mobilenet": Experiment(
            description="MobileNet",
            change={"net": "mobilenet", "keep_prob": 0.8},
            other_scores={"train_accuracy": 0.98, "train_loss": 0.115, "dev_accuracy": 0.755, "dev_loss": 0.894},
        ),
        "efficientnet": Experiment(
            description="EfficientNet-B0",
            change={"net": "efficientnet_b0", "keep_prob": 0.8},
            published=71.2,
            other_scores={
                "train_accuracy": 0.78,
                "train_loss": 0.81,
                "dev_accuracy": 0.67,
                "dev_loss": 0.923,
                "test_loss": 0.936,
                "test_accuracy": 0.712,
                "test_top2_accuracy": 0.856,
                "test_macro_f1": 0.707,
            },
        ),
    },
    claims=(
        Claim(
            description="EfficientNet beats AlexNet and GoogLeNet",
            experiment="efficientnet",
            sign=">",
            others=("alexnet", "googlenet"),
        ),
        Claim(description="VGG beats AlexNet", experiment="vgg", sign=">", others=("alexnet",)),
        Claim(
            description="GoogLeNet is worst",
            experiment="googlenet",
            sign="<",
            others=("alexnet", "vgg", "resnet", "mobilenet", "efficientnet"),
        ),
    ),
    columns={
        "train_accuracy": "train accuracy",
        "train_loss": "train loss",
        "dev_accuracy": "valid accuracy",
        "dev_loss": "valid loss",
        "dev_top2_accuracy": "valid top-2",
        "test_loss": "test loss",
        "test_accuracy": "top-1",
        "test_top2_accuracy": "top-2",
        "test_macro_f1": "macro F1",
    },
)
