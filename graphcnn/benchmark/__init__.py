"""The benchmark of graphcnn, Keras and PyTorch, which train and evaluate the same net; timings of operations."""
