"""The dev macro F1 of a graph that is handed in, and of the float32 graph of a run after its training."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphcnn.common.progress import bar
from graphcnn.evaluation import metrics
from graphcnn.evaluation.predictor import Predictor
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.recorded_data import RecordedData
from graphcnn.storage.run import Run


class BestScore(NamedTuple):
    """The dev macro F1 of a run's best epoch: the entry "best" of config.json.

    Attributes:
        epoch: number of the epoch.
        dev_macro_f1: of the float32 graph, which `eval`, `predict`, `submit` and `export` use.
        training_dev_macro_f1: as the training measured it, in its own precision.
        training_precision: float32 or bfloat16.
    """

    epoch: int
    dev_macro_f1: float
    training_dev_macro_f1: float
    training_precision: str

    def text(self) -> str:
        """Return "dev macro F1 0.758898", with the score of the training if it was computed in bfloat16."""
        score = f"dev macro F1 {self.dev_macro_f1:.6f}"
        if self.training_precision == "float32":
            return score
        return f"{score} in float32 ({self.training_dev_macro_f1:.6f} in {self.training_precision})"


def dev_macro_f1(predictor: Predictor, data: RecordedData, tta: bool = False) -> float | None:
    """Return the macro F1 of a graph on the dev split; None without a dev split.

    Args:
        predictor: the graph with its weights.
        data: the data of the run or of the ensemble.
        tta: whether to use test-time augmentation.
    """
    dataset, rows = data.dataset, data.dev_rows
    if not len(rows):
        return None
    dataset.check_unchanged()
    with bar("dev", len(rows)) as advance:
        probabilities = predictor.probabilities(dataset.x_train, rows, advance, tta)
    return float(metrics.summary(dataset.y_train[rows], probabilities)["macro_f1"])


def score_best(run: Run, data: RecordedData, epoch: int, training_score: float) -> BestScore:
    """Return the BestScore of a finished run; write it into config.json.

    The training's own score is a float32 score if the training was in float32. Otherwise the dev split is scored once
    more, unless config.json has the score of this epoch.

    Args:
        run: the run.
        data: its data, with a dev split.
        epoch: number of the best epoch.
        training_score: the dev macro F1 that the training measured after this epoch.
    """
    config: dict[str, Any] = run.config()
    best = BestScore(epoch, training_score, training_score, config["recipe"]["precision"])
    recorded = config.get("best")
    if best.training_precision != "float32":
        if same := _of_same_epoch(recorded, best):
            return same
        trained = TrainedRun(run)
        with trained.open(trained.build()) as predictor:
            score = dev_macro_f1(predictor, data)
        assert score is not None
        best = best._replace(dev_macro_f1=score)
    if recorded != best._asdict():
        run.write_config({**config, "best": best._asdict()})
    return best


def _of_same_epoch(recorded: Any, best: BestScore) -> BestScore | None:
    """Return the entry "best" of a config.json if only its float32 score differs from a BestScore, else None."""
    score = recorded.get("dev_macro_f1") if isinstance(recorded, dict) else None
    same = best._replace(dev_macro_f1=score) if isinstance(score, float) else None
    return same if same and same._asdict() == recorded else None
