"""A submission: result.npy, the inference graph, and a script with which a grader verifies both."""
