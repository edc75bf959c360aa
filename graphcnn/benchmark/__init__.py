"""The benchmark: graphcnn, Keras and PyTorch train and evaluate the same net in turns; timings of operations."""
