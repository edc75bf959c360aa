"""Print the most probable classes of image files, with TensorFlow and Pillow: python predict.py photo.png."""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

folder = Path(__file__).resolve().parent
about = json.loads((folder / "assets.extra" / "graphcnn.json").read_text(encoding="utf-8"))
height, width = about["image_shape"]
fit = about["image_files"]["fit"]
compute = tf.saved_model.load(str(folder)).signatures["serving_default"]
for path in sys.argv[1:]:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if fit == "crop":
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    elif fit == "pad":
        image = ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    x = np.asarray(image, np.float32)[np.newaxis] * np.float32(about["pixel_max"] / 255)
    [probabilities] = compute(x=tf.constant(x))["hypothesis"].numpy()
    best = np.argsort(-probabilities, kind="stable")[:3]
    print(f"{path}: " + ", ".join(f"{about['class_names'][k]} ({probabilities[k]:.4f})" for k in best))
