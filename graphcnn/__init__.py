"""graphcnn: small-image CNNs trained as plain TF1-style graphs on today's TensorFlow."""

__version__ = "0.1.0"
