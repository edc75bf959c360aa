"""The submission: result.npy, the inference graph and the grader's script."""
