"""The implementations that the benchmark compares; each runs in a process of its own and imports its own library."""

MODULES = {"keras": "keras", "pytorch": "torch"}  # implementation: the module that it needs
KERAS_APPLICATIONS = {  # graphcnn's name of a net without rows: its class in keras.applications
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
PYTORCH_NETS = ("mobilenet_v2", "resnet50_v2")  # nets without rows that pytorch_nets.py defines
NETS_WITHOUT_ROWS = {"keras": tuple(KERAS_APPLICATIONS), "pytorch": PYTORCH_NETS}
