"""The implementations that the benchmark compares. Each runs in its own process and imports only its library."""

MODULES = {"keras": "keras", "pytorch": "torch"}  # {implementation: module of its library}
KERAS_APPLICATIONS = {  # {graphcnn's name of a net that is not sequential: its class in keras.applications}
    "densenet201": "DenseNet201",
    "efficientnet_b0": "EfficientNetB0",
    "inception_resnet_v2": "InceptionResNetV2",
    "inception_v3": "InceptionV3",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "resnet50": "ResNet50",
    "resnet50_v2": "ResNet50V2",
    "resnet152_v2": "ResNet152V2",
    "xception": "Xception",
}
PYTORCH_NETS = ("mobilenet_v2", "resnet50_v2")  # nets in pytorch_nets.py that are not sequential
NETS_WITHOUT_ROWS = {"keras": tuple(KERAS_APPLICATIONS), "pytorch": PYTORCH_NETS}
