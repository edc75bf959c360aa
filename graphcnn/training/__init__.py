"""The training loop, its stages and steps, and the files that it writes."""
