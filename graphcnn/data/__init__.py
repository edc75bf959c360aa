"""Data sources (each is a module that returns a Dataset), checks, dev split, batches and statistics."""
