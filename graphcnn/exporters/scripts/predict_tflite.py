"""Print the most probable classes of image files, with TensorFlow Lite and Pillow: python NAME.tflite.py photo.png."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

model = Path(__file__).resolve().with_suffix("")
about = json.loads(zipfile.ZipFile(model).read("graphcnn.json"))
height, width = about["image_shape"]
fit = about["image_files"]["fit"]
compute = tf.lite.Interpreter(str(model)).get_signature_runner("serving_default")
for path in sys.argv[1:]:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if fit == "crop":
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    elif fit == "pad":
        image = ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    x = np.asarray(image, np.float32)[np.newaxis] * np.float32(about["pixel_max"] / 255)
    [probabilities] = compute(x=x)["hypothesis"]
    best = np.argsort(-probabilities, kind="stable")[:3]
    print(f"{path}: " + ", ".join(f"{about['class_names'][k]} ({probabilities[k]:.4f})" for k in best))
