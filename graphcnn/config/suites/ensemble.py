"""Cartoon-face transfer: five backbones as one ensemble, at three image sizes (docs/reports.md).

    ./run.sh experiments --suite=ensemble --data=DIR

The published test accuracies of the ensemble are 0.985 at 150 px, 0.990 at 180 px and 0.992 at 200 px. Its members
reach 0.939 to 0.985 at 150 px. graphcnn does not contain the cartoon faces. Expect the ensemble to beat its best
member.
"""

from __future__ import annotations

from graphcnn.config.suite import Ensemble, Experiment, Suite
from graphcnn.config.suites.transfer import CAFFE, FACES, RMSPROP, TF, TORCH

CHANGES: dict[str, dict[str, object]] = {  # {backbone: its changes to the base recipe}
    "resnet152_v2": {"net": "resnet152_v2", **TF},
    "xception": {"net": "xception", **TF},
    "inception_v3": {"net": "inception_v3", **TF},
    "densenet201": {"net": "densenet201", "keep_prob": 0.8, **TORCH, **RMSPROP},
    "vgg16": {"net": "vgg16", "epochs": 50, **CAFFE, **RMSPROP},
}
PUBLISHED_AT_150 = {
    "resnet152_v2": 0.9738,
    "xception": 0.9818,
    "inception_v3": 0.976,
    "densenet201": 0.9849,
    "vgg16": 0.9387,
}
PUBLISHED = {150: 0.985267, 180: 0.989871, 200: 0.991712}  # {image size: test accuracy of the ensemble}

ENSEMBLE = Suite(
    source="cartoon-face transfer: an ensemble of five ImageNet backbones at three image sizes, whose published scores "
    "are on the test split",
    unit="accuracy",
    base=FACES,
    dev_fraction=0.2,
    experiments={
        f"{backbone}_{size}": Experiment(
            description=f"{backbone}, {size} px",
            change={**change, "image_size": size},
            published=PUBLISHED_AT_150[backbone] if size == 150 else None,
        )
        for size in PUBLISHED
        for backbone, change in CHANGES.items()
    },
    ensembles=tuple(
        Ensemble(
            description=f"all five at {size} px",
            members=tuple(f"{backbone}_{size}" for backbone in CHANGES),
            published=published,
        )
        for size, published in PUBLISHED.items()
    ),
)
