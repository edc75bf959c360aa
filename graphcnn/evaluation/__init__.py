"""Scores, predictions, ensembles, class activation maps and pictures."""
