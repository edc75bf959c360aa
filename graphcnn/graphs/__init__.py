"""A recipe as one TF1 graph, for inference or for training."""
