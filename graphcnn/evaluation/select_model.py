"""The model that a command uses: a run, an ensemble of runs, or a published ImageNet net."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from graphcnn.common.errors import InputError
from graphcnn.common.files import refuse_links
from graphcnn.evaluation.net import Net
from graphcnn.evaluation.published_net import PublishedNet
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.nets.own import load_net
from graphcnn.storage.recorded_net import check_net
from graphcnn.storage.select_run import ensemble_folder, select_run, select_runs

AnyNet = TypeVar("AnyNet", bound=Net, covariant=True)


@dataclass(frozen=True)
class Model(Generic[AnyNet]):
    """One net, or an ensemble of runs with the same classes.

    Attributes:
        nets: the net, or the members of the ensemble.
        report_folder: folder for the reports on this model.
        ensemble: "mean" averages the softmax outputs with equal weights, "fitted" with weights fitted on the dev split.
        tta: whether predictions use test-time augmentation.
    """

    nets: tuple[AnyNet, ...]
    report_folder: Path
    ensemble: str = "mean"
    tta: bool = False

    @property
    def name(self) -> str:
        """The names of the nets: "a + b"."""
        return " + ".join(net.name for net in self.nets)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the outputs."""
        return self.nets[0].class_names

    @property
    def temperature(self) -> float | None:
        """The temperature of the calibrated outputs; None without --calibrated. An ensemble has none."""
        return self.nets[0].temperature

    def only_net(self) -> AnyNet:
        """Return the only net of the model; refuse an ensemble."""
        if len(self.nets) > 1:
            names = ",".join(net.name for net in self.nets)
            raise InputError(f"--run={names}: found {len(self.nets)} runs, expected one; name one of them")
        return self.nets[0]


def select_model(
    root: Path,
    *,
    run: str | None = None,
    ensemble: str = "mean",
    tta: bool = False,
    calibrated: bool = False,
    net: str | None = None,
    weights: str = "imagenet",
    data_cache: str | None = None,
    allow_changed_net: bool = False,
    own_net: str | None = None,
) -> Model[Any]:
    """Return the model that a command's flags select: a Model[TrainedRun], or with `net` a Model[PublishedNet].

    Args:
        root: folder of the runs.
        run: name of a run, or names with commas between them; None for the newest run.
        ensemble, tta: see Model.
        calibrated: whether the outputs are calibrated with the temperature of the run.
        net: an ImageNet net with published weights instead of a run.
        weights, data_cache: see PublishedNet.
        allow_changed_net: whether to use a run whose net has changed after its training.
        own_net: a net in a Python file of the user, see nets.own.load_net.

    Raises:
        InputError: a run does not exist or is named twice, the runs have different classes, the net of a run has
            changed, a run was trained without views for test-time augmentation, there is no temperature that fits the
            model, or there are no weights for the net.
    """
    if own_net:
        load_net(own_net)
    if net:
        return Model((PublishedNet(net, weights, root, data_cache),), root)
    selected = select_runs(root, run) if run and "," in run else [select_run(root, run)]
    runs = tuple(TrainedRun(folder) for folder in selected)
    first = runs[0]
    for member in runs:
        check_same_classes(first, member)
        check_net(member.name, member.config, member.recipe, allow_changed_net)
        if tta:
            member.check_tta()
    if calibrated:
        if len(runs) > 1:
            raise InputError(
                f"--calibrated: a temperature is fitted for one run, but --run names {len(runs)}; name one of them, or "
                "drop --calibrated"
            )
        first.use_calibration(tta)
    folder = ensemble_folder(root, [member.name for member in runs]) if len(runs) > 1 else first.run.path / "report"
    refuse_links(folder, root)
    return Model(runs, folder, ensemble, tta)


def check_same_classes(first: Net, other: Net) -> None:
    """Refuse two nets with different class names."""
    if other.class_names != first.class_names:
        raise InputError(
            f"--run: {other.name} and {first.name} have different classes ({len(other.class_names)} and "
            f"{len(first.class_names)}); name runs of the same data"
        )
