"""Data sources: each file turns one kind of source into a Dataset; splits and batches."""
