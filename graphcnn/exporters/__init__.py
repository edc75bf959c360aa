"""Export of inference graphs for other programs: SavedModel, TensorFlow Lite and NumPy arrays."""
