"""Write the weights and outputs of a Keras net; test_parity.py runs this in its own process.

keras_reference.py NAME FOLDER SIZE… writes into FOLDER/SIZE: before.h5, images.npy [N, SIZE, SIZE, 3], labels.npy [N],
logits.npy [N, 10] for the weights in before.h5, after.h5 with the weights after one SGD step of rate 0.1 on these
images (dropout and drop-connect at 0), parameters.txt (trainable ones).
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

MODELS = {  # name here: name in Keras
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "inception_v3": "InceptionV3",
    "inception_resnet_v2": "InceptionResNetV2",
    "resnet50": "ResNet50",
    "resnet50_v2": "ResNet50V2",
    "resnet152_v2": "ResNet152V2",
    "xception": "Xception",
    "densenet201": "DenseNet201",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "efficientnet_b0": "EfficientNetB0",
}
# of batch norms; they keep most units away from 0, where the gradient jumps
RANGES = {
    "beta": (1.0, 2.0),
    "moving_mean": (-0.2, 0.2),
}
BRANCHES = {"resnet152_v2": 0.3}  # factor of the weights of a block's last convolution, since fifty blocks add up
CLASSES, IMAGES, RATE = 10, 8, 0.1


def main(name, folder, size):
    """Write the files for images of one size."""
    folder = folder / str(size)
    folder.mkdir()
    tf_keras.backend.clear_session()  # layers get the same names as in the first net of a process
    generator = np.random.default_rng(size)
    make = getattr(tf_keras.applications, MODELS[name])
    model = make(weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None)
    for layer in model.layers:
        randomise(layer, generator, BRANCHES.get(name, 1.0) if layer.name.endswith("_3_conv") else 1.0)
    raw = name.startswith("efficientnet")  # its own layers normalise images
    images = (
        generator.uniform(0, 255, (IMAGES, size, size, 3)) if raw else generator.normal(size=(IMAGES, size, size, 3))
    )
    images, labels = images.astype(np.float32), generator.integers(0, CLASSES, IMAGES)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    (folder / "parameters.txt").write_text(str(sum(int(np.prod(w.shape)) for w in model.trainable_weights)))
    model.save_weights(folder / "before.h5")
    np.save(folder / "logits.npy", model(images, training=False).numpy())
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
        weight.assign_sub(RATE * gradient)
    model.save_weights(folder / "after.h5")


def randomise(layer, generator, factor):
    """Give a layer weights that a trained one could have, with its kernel times a factor; switch off dropout."""
    if hasattr(layer, "rate"):
        layer.rate = 0.0
    if isinstance(layer, tf_keras.layers.BatchNormalization):
        for weight in layer.weights:
            low, high = RANGES.get(weight.name.split("/")[-1].split(":")[0], (0.8, 1.2))
            weight.assign(generator.uniform(low, high, weight.shape))
    elif isinstance(layer, tf_keras.layers.Normalization):
        layer.adapt_mean.assign([0.485, 0.456, 0.406])
        layer.adapt_variance.assign(np.square([0.229, 0.224, 0.225]))
        layer.finalize_state()
    else:
        for weight in layer.weights:
            shape = weight.shape.as_list()
            fans = 1 if "depthwise" in weight.name else shape[-2] if len(shape) > 1 else 0
            scale = (2 / (fans * np.prod(shape[:-2]))) ** 0.5 if fans else 0.1
            weight.assign(factor * generator.normal(0, scale, shape))


if __name__ == "__main__":
    for size in sys.argv[3:]:
        main(sys.argv[1], Path(sys.argv[2]), int(size))
