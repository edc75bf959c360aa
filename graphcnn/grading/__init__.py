"""Grading of submissions that are not trusted: scores, a rubric, similar submissions, and checks of the graph."""
