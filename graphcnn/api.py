"""The Python API: train, load, load_data. The commands and this module call the same functions.

TensorFlow is imported at the first call, and eager execution stays on. Bad input raises InputError, whose message is
the line that a command prints. Letters in shapes: N images, H W pixels, K classes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphcnn.common import paths
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config.flags import SPLITS

if TYPE_CHECKING:
    from graphcnn.data.dataset import Dataset
    from graphcnn.evaluation.figure import Figure
    from graphcnn.evaluation.net import Net
    from graphcnn.evaluation.predictor import Predictor
    from graphcnn.evaluation.select_model import Model as SelectedModel

Images = np.ndarray | Sequence[str | Path | np.ndarray]


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of predictions.

    Attributes:
        macro_f1, accuracy, top2_accuracy: between 0 and 1.
        cross_entropy: mean over the images, in nats.
        intervals: {name of a score: (lower end, upper end) of its 95% interval}.
        confusion: int64 [K, K], the number of images of each true class (row) and predicted class (column).
    """

    macro_f1: float
    accuracy: float
    top2_accuracy: float
    cross_entropy: float
    intervals: Mapping[str, tuple[float, float]]
    confusion: np.ndarray = dataclasses.field(repr=False)

    def confusion_matrix(self, class_names: Sequence[str] | None = None) -> Figure:
        """Return the picture of the confusion counts as a matplotlib figure.

        Args:
            class_names: names of the K classes; None for their numbers.
        """
        from graphcnn.evaluation.figure import drawing
        from graphcnn.evaluation.pictures import confusion_size, draw_confusion

        names = [str(n) for n in range(len(self.confusion))] if class_names is None else list(class_names)
        if len(names) != len(self.confusion):
            raise InputError(f"class_names: found {len(names)} names, expected {len(self.confusion)}")
        with drawing(*confusion_size(names)) as figure:
            draw_confusion(figure, self.confusion, names, f"macro F1 {self.macro_f1:.4f}, accuracy {self.accuracy:.4f}")
        return figure


class Predictions(NamedTuple):
    """The predictions for N images.

    Attributes:
        classes: the name of the most probable class of each image.
        probabilities: softmax outputs, float32 [N, K].
    """

    classes: list[str]
    probabilities: np.ndarray


class Run:
    """A training run.

    Attributes:
        name: its name.
        path: its folder.
    """

    def __init__(self, root: Path, name: str) -> None:
        from graphcnn.storage.run import Run as RunFolder

        self._run = RunFolder(root, name)
        self.name, self.path = name, self._run.path
        self._scores: dict[str, Scores] = {}

    def __repr__(self) -> str:
        return f"Run({self.name!r}, path={str(self.path)!r})"

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json: the recipe, the data, the split, the class names, the versions."""
        return self._run.config()

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row {column of history.csv: value} for each finished epoch."""
        return [dict(row) for row in self._run.history(self._run.last_epoch().epoch)]

    @property
    def scores(self) -> Mapping[str, Scores]:
        """{split: Scores} of the best epoch in float32, as `eval` computes them; computed at the first use.

        The splits are dev, train and test. The data are read from where they were in the training.
        """
        return _ScoresBySplit(self)

    def curves(self) -> Figure:
        """Return the picture curves.png as a matplotlib figure."""
        from graphcnn.evaluation.figure import drawing
        from graphcnn.evaluation.pictures import CURVES_SIZE, draw_curves

        history = self._run.history(self._run.last_epoch().epoch)
        if not history:
            raise InputError(f"run {self.name} has no finished epoch, so it has no curves; continue the training")
        with drawing(*CURVES_SIZE) as figure:
            draw_curves(figure, history, self.name)
        return figure

    def load(self) -> Model:
        """Return the run as a Model; see graphcnn.load."""
        return load(self.path)

    def _score(self, split: str) -> Scores:
        if split not in self._scores:
            from graphcnn.evaluation.model_data import DataSource
            from graphcnn.evaluation.model_outputs import compute_outputs
            from graphcnn.evaluation.scored_data import read_splits
            from graphcnn.evaluation.select_model import select_model

            model = select_model(self._run.root, run=self.name)
            data = read_splits([model], [split], DataSource(None, {}))[0]
            probabilities = compute_outputs(model, data, "float32").probabilities(split)
            images = data.splits[0][split]
            self._scores[split] = _scores(images.labels[images.rows], probabilities)
        return self._scores[split]


class _ScoresBySplit(Mapping[str, Scores]):
    """{split: Scores} of a run; a split is scored at its first use."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getitem__(self, split: str) -> Scores:
        if split not in SPLITS:
            raise KeyError(split)
        return self._run._score(split)

    def __iter__(self) -> Iterator[str]:
        return iter(SPLITS)

    def __len__(self) -> int:
        return len(SPLITS)


class Model:
    """A trained run, or an ensemble of runs, with its weights in memory. Close it, or use it in a `with` block.

    Attributes:
        class_names: the names of the K classes, in the order of the probabilities.
        image_shape: (H, W) of the images that the network takes. Other images are resized.
    """

    def __init__(self, model: SelectedModel[Any]) -> None:
        from graphcnn.evaluation.ensemble import ensemble_weights
        from graphcnn.evaluation.model_data import load_data as load_runs_data

        self._model = model
        self.class_names, self.image_shape = tuple(model.class_names), model.nets[0].image_shape
        self._weights = ensemble_weights(model, load_runs_data)
        self._predictors: list[Predictor] = [net.open(net.build()) for net in model.nets]

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the memory of the weights; the model cannot be used further."""
        for predictor in self._predictors:
            predictor.session.close()
        self._predictors = []

    def predict(self, images: Images) -> Predictions:
        """Return the predictions for images.

        Args:
            images: an array [N, H, W], [N, H, W, 1] or [N, H, W, 3] with the size and pixel range of the training
                images; or a list whose items are image files, folders, patterns such as photos/*.jpg, and arrays
                [h, w], [h, w, 1] or [h, w, 3]. An array of another size must be uint8. It is resized like a file.

        Raises:
            InputError: a file is missing or is no image, or an array has another shape or range.
        """
        probabilities = self._probabilities(images)
        return Predictions([self.class_names[k] for k in probabilities.argmax(axis=1)], probabilities)

    def evaluate(self, x: Images, y: Sequence[int] | Sequence[str] | np.ndarray) -> Scores:
        """Return the scores of the predictions for labelled images.

        Args:
            x: N images, see `predict`.
            y: their class ids, 0 .. K-1, or the names of their classes.
        """
        probabilities, labels = self._probabilities(x), self._class_ids(np.asarray(y).ravel())
        if len(labels) != len(probabilities):
            raise InputError(f"y: found {len(labels)} labels, expected one for each of {len(probabilities)} images")
        return _scores(labels, probabilities)

    def _class_ids(self, labels: np.ndarray) -> np.ndarray:
        """Return labels as class ids, int [N]."""
        if labels.dtype.kind in "US":
            names = {name: k for k, name in enumerate(self.class_names)}
            for label in labels.tolist():
                if label not in names:
                    raise InputError(f"y: {unknown_name(str(label), self.class_names)}")
            return np.array([names[label] for label in labels.tolist()], int)
        if (
            labels.dtype.kind not in "iu"
            or len(labels) == 0
            or not 0 <= labels.min() <= labels.max() < len(self.class_names)
        ):
            raise InputError(f"y: expected class ids from 0 to {len(self.class_names) - 1}, or names of classes")
        return labels.astype(int)

    def _probabilities(self, images: Images) -> np.ndarray:
        from graphcnn.common.progress import bar
        from graphcnn.evaluation.ensemble import weighted_mean

        if not self._predictors:
            raise InputError("this model is closed; load it again")
        outputs = []
        for net, predictor in zip(self._model.nets, self._predictors, strict=True):
            pixels = _pixels(images, net)
            with bar("predict", len(pixels)) as advance:
                outputs.append(predictor.probabilities(pixels, advance=advance, tta=self._model.tta))
        return weighted_mean(np.stack(outputs), self._weights)


def train(
    data: str | Path | None = None,
    recipe: str | None = None,
    *,
    run: str | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dev_split: str | None = None,
    dev_fraction: float | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train a network, as `./run.sh train` does with the same flags, and return its run.

    Args:
        data: a folder, a .npz file, "cifar10" or "digits". None: the folder data/ if it holds x_train.npy, else
            "digits".
        recipe: name of the recipe; None for the recipe that fits the data.
        run: name of the run; None for RECIPE-N.
        checkpoints: folder of all runs; None for checkpoints/.
        resume: whether to continue the run.
        overwrite: whether to replace a run of this name.
        dev_split, dev_fraction: how the dev split is chosen.
        quiet: whether to print nothing.
        settings: settings of the recipe, such as epochs=3, seed=1; and the options of the data fit, label_file,
            skip_broken, cache_dir and data_cache.

    Raises:
        InputError: a name or a value is not possible, or the training diverged.
        KeyboardInterrupt: the training was interrupted. The finished epochs are saved; resume=True continues it.
    """
    from graphcnn.config.recipe import Recipe
    from graphcnn.data.sources import DataOptions
    from graphcnn.training.request import TrainRequest
    from graphcnn.training.start import train as start

    names = [field.name for field in dataclasses.fields(Recipe)]
    options = _options(DataOptions, {name: settings.pop(name) for name in list(settings) if name not in names})
    request = TrainRequest(
        root=_root(checkpoints),
        run=run,
        resume=resume,
        overwrite=overwrite,
        data=None if data is None else _source(data),
        data_options=options,
        recipe=recipe,
        settings=settings,
        dev_fraction=dev_fraction,
        dev_split=dev_split,
    )
    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        trained = start(request)
    if trained.status in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        raise KeyboardInterrupt
    if trained.run is None:
        raise InputError("TF_CONFIG: this process is not worker 0, which alone writes the run; load the run there")
    return Run(trained.run.root, trained.run.name)


def load(
    run: str | Path | Sequence[str] | None = None,
    *,
    checkpoints: str | Path | None = None,
    ensemble: str = "mean",
    tta: bool = False,
    calibrated: bool = False,
    net: str | None = None,
) -> Model:
    """Return a trained model with the weights of its best epoch.

    Args:
        run: name of a run, path of a run's folder, or a list of names for an ensemble; None for the newest run.
        checkpoints: folder of all runs; None for checkpoints/.
        ensemble: mean or fitted, how the members of an ensemble are weighted.
        tta: whether predictions use test-time augmentation.
        calibrated: whether probabilities are calibrated with the temperature of the run.
        net: "PATH/FILE.py:NAME", if the run was trained with this net; the file is executed.

    Raises:
        InputError: there is no such run, or it is damaged.
    """
    from graphcnn.evaluation.select_model import select_model

    root, name = _root(checkpoints), run
    if isinstance(run, Path) or (isinstance(run, str) and (Path(run) / "config.json").is_file()):
        root, name = Path(run).resolve().parent, Path(run).resolve().name
    elif run is not None and not isinstance(run, str):
        name = ",".join(run)
    assert name is None or isinstance(name, str)
    return Model(select_model(root, run=name, ensemble=ensemble, tta=tta, calibrated=calibrated, own_net=net))


def register_net(name: str, net: Any) -> None:
    """Add a net of your own, so that `train` and `load` of this process know its name; see nets.own.register_net.

    Args:
        name: letters, digits, '.', '_', '-'.
        net: a tuple of layers, or a function build(x, classes, context) that returns logits [N, K].

    Raises:
        InputError: the name is not possible, or `net` is neither.
    """
    from graphcnn.nets import own

    own.register_net(name, net)


def load_data(data: str | Path | None = None, **options: Any) -> Dataset:
    """Return data as a Dataset: x_train, y_train, x_test, y_test and class_names. The test images are loaded too.

    Args:
        data: see `train`.
        options: image_size (height and width to which image files are resized), fit, label_file, skip_broken, cache_dir
            and data_cache.
    """
    from graphcnn.data import sources

    given = _options(sources.DataOptions, options)
    source = sources.default_source() if data is None else _source(data)
    return sources.load(source, test=True, options=sources.DataOptions(**given))


def _options(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of DataOptions; refuse other names. Paths are absolute texts."""
    from graphcnn.config.recipe import Recipe

    names = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in names:
            settings = [field.name for field in dataclasses.fields(Recipe)]
            raise InputError(unknown_name(name, [*names, *settings]))
    folders = ("cache_dir", "data_cache", "label_file")
    return {name: str(Path(value).resolve()) if name in folders and value else value for name, value in given.items()}


def _source(data: str | Path) -> str:
    """Return the value of --data: an absolute path, or the name of a data set."""
    from graphcnn.data import sources

    return str(data) if data in sources.NAMES else str(Path(data).resolve())


def _root(checkpoints: str | Path | None) -> Path:
    return paths.CHECKPOINTS if checkpoints is None else Path(checkpoints).resolve()


def _scores(labels: np.ndarray, probabilities: np.ndarray) -> Scores:
    from graphcnn.evaluation import metrics
    from graphcnn.evaluation.intervals import score_intervals

    intervals = {name: (low, high) for name, (low, high) in score_intervals(labels, probabilities).items()}
    return Scores(**metrics.summary(labels, probabilities), intervals=intervals)


def _pixels(images: Images, net: Net) -> Any:
    """Return images as an array that the net takes, [N, H, W, 3] or [N, H, W], or as _Pixels."""
    from graphcnn.data.checks import check_compatible

    if isinstance(images, np.ndarray):
        check_compatible(images, "images", net.image_shape, net.pixel_max)
        return images
    return _Pixels(images, net)


class _Pixels:
    """Image files and arrays as an array that is read batch by batch: pixels[rows] is float32 [n, H, W, 3]."""

    def __init__(self, items: Sequence[str | Path | np.ndarray], net: Net) -> None:
        from graphcnn.data.photo_files import find_files

        if isinstance(items, (str, Path)):
            raise InputError(f"images: found {str(items)!r}, expected a list, such as [{str(items)!r}]")
        self._items: list[str | np.ndarray] = []
        for item in items:
            self._items += [item] if isinstance(item, np.ndarray) else find_files([str(item)])
        if not self._items:
            raise InputError("images: found an empty list, expected at least one image")
        self._net, self.shape = net, (len(self._items), *net.image_shape, 3)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        from graphcnn.data.images import suppress_warnings

        with suppress_warnings():
            return np.stack([self._read(self._items[row]) for row in rows])

    def _read(self, item: str | np.ndarray) -> np.ndarray:
        from graphcnn.data.batches import as_rgb
        from graphcnn.data.checks import check_compatible
        from graphcnn.data.images import read_image, resize_pixels

        scale = np.float32(self._net.pixel_max / 255)
        if isinstance(item, str):
            return read_image(item, self._net.image_shape, self._net.fit) * scale
        if item.shape[:2] == self._net.image_shape:
            check_compatible(item[None], "images", self._net.image_shape, self._net.pixel_max)
            return as_rgb(item[None])[0]
        if item.dtype != np.uint8 or item.ndim not in (2, 3) or item.shape[2:] not in ((), (1,), (3,)):
            height, width = self._net.image_shape
            raise InputError(
                f"images: found an array {item.dtype} {item.shape}, expected {height}x{width} pixels, or uint8 [h, w], "
                "[h, w, 1] or [h, w, 3] of another size"
            )
        return resize_pixels(as_rgb(item[None])[0].astype(np.uint8), self._net.image_shape, self._net.fit) * scale
