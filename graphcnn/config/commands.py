"""The commands, each with the line that describes it in the list of commands."""

COMMANDS = {
    "train": "train a network on your images, or on scikit-learn's digits",
    "eval": "score a run: macro F1, scores of each class, confusion matrix",
    "predict": "print the most probable classes of images",
    "submit": "write and verify a submission: result.npy, graph, zip file",
    "grade": "score and rank the submissions of a class, which are not trusted",
    "explain": "show which regions of an image support a class",
    "export": "write a run as a SavedModel, TensorFlow Lite or NumPy file",
    "experiments": "train a suite or a sweep of experiments, and write a report",
    "runs": "list, compare and delete runs",
    "report": "write a report on a run, an ensemble or a suite as one HTML page",
    "inspect": "report on data: images of each class, identical images, a picture",
    "bench": "compare the speed with Keras and PyTorch",
    "launch": "train with several workers on this machine",
}
