"""TensorFlow, and the layers, kernels and optimizers built on it."""
