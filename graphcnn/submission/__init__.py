"""Submissions: result.npy, the inference graph, and a script that verifies both for the grader."""
