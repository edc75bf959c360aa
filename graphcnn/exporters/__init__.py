"""Inference graphs for other programs: SavedModel, TensorFlow Lite, NumPy arrays."""
