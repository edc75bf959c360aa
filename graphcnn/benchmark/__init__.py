"""Speed of the training step and of evaluation, beside Keras and PyTorch."""
