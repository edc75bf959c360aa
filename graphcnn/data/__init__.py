"""Data sources, each a module that returns a Dataset; checks, dev split, batches and statistics."""
