"""A run's folder on disk: config, history, checkpoints."""
