"""Recipes and suites: every setting of a training run as data."""
