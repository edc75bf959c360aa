"""Write the report of a suite from all its finished runs, including runs of earlier calls."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from graphcnn.common.errors import BadImage, InputError, error_line
from graphcnn.common.files import read_json
from graphcnn.common.progress import say
from graphcnn.common.text import printable
from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Ensemble
from graphcnn.data.folder import class_folders, image_files
from graphcnn.data.images import read_image, suppress_warnings
from graphcnn.storage.run import Run
from graphcnn.storage.select_run import ensemble_folder
from graphcnn.sweeps import report
from graphcnn.sweeps.child import output_lines
from graphcnn.sweeps.job import Job
from graphcnn.sweeps.results import Result
from graphcnn.sweeps.scheduler import JobFailed, Scheduler
from graphcnn.sweeps.setup import with_random_weights

FILES = ("report.md", "report.json", "report.png")
MOST_IMAGES, IMAGES_PER_CLASS = 12, 2  # limits for the images whose predictions the report shows


class Report:
    """The report of a suite.

    Args:
        scheduler: reads results and scores ensembles.
        recipes: {experiment: Recipe} of this call.

    Attributes:
        failed: names of unreadable runs, and descriptions of ensembles and predictions that failed.
    """

    def __init__(self, scheduler: Scheduler, recipes: dict[str, Recipe]) -> None:
        self.scheduler, self.setup, self.recipes = scheduler, scheduler.setup, recipes
        self.failed: list[str] = []

    def write(self, command: str, failed_jobs: list[Job]) -> None:
        """Write the report and print it; if no run is finished and none has failed, delete an earlier report.

        Args:
            command: the command line, for the report.
            failed_jobs: jobs that failed in this call. Their error is already printed, so it is not printed again.
        """
        reported = {job.run.name for job in failed_jobs}
        all_results = {experiment: self._results(experiment, reported) for experiment in self.recipes}
        results = {experiment: seeds for experiment, seeds in all_results.items() if seeds}
        folder = self.setup.folder
        if not results:
            failed = failed_jobs or self.failed
            for name in () if failed else FILES:
                (folder / name).unlink(missing_ok=True)
            say(f"no experiment is finished, so {'the report is not changed' if failed else 'there is no report'}")
            return
        contents: dict[str, Any] = {"suite": self.setup.name, "command": command, "data": self.setup.data.description}
        contents |= report.summary(self.setup.suite, results)
        longer = [
            experiment
            for experiment, seeds in results.items()
            if any(seed["epochs"] > self.recipes[experiment].all_epochs() for seed in seeds)
        ]
        best = results[report.best_experiment(contents)][0]["run"]
        image_folder = self.setup.data.image_folder
        predictions = image_folder and self._has_checkpoints([best]) and self._predictions(best, image_folder)
        contents |= {"longer": longer, "predictions": predictions, "ensembles": self._ensembles(results)}
        report.write(folder, contents, results)
        say(*(folder / "report.md").read_text(encoding="utf-8").split("\n"))
        say(f"written: {folder}/{', '.join(FILES)}")

    def _results(self, experiment: str, reported: set[str]) -> list[Result]:
        """Return the results of the experiment's finished runs, in the order of their seeds."""
        results = []
        runs = self.setup.runs(experiment, self.recipes[experiment].seed)
        for run, seed_index, _ in sorted(runs, key=lambda entry: entry[1]):
            try:
                result = self._result(experiment, run, seed_index)
            except (JobFailed, InputError, OSError) as error:
                if run.name not in reported:
                    say(f"{run.name}: this run is not in the report: {_line(error)}")
                    self.failed.append(run.name)
                continue
            if result is not None:
                results.append(result)
        return results

    def _result(self, experiment: str, run: Run, seed_index: int) -> Result | None:
        """Return the results of a run; None if it is unfinished or has another recipe, dataset or dev split.

        A finished run without scores, or with scores on another test split, is scored first.

        A run of the same recipe with random weights also counts, since an earlier call may have lacked the published
        weights.
        """
        recipe = self.recipes[experiment]
        for variant in dict.fromkeys((recipe, with_random_weights(recipe))):
            job = self.setup.job(experiment, variant, seed_index)
            if job.run.path == run.path and self.scheduler.standing(job).action == "done":
                return self.scheduler.result(job)
        return None

    def _has_checkpoints(self, runs: list[str]) -> bool:
        """Return whether all runs have checkpoints; print the first one that is only a record."""
        missing = next((run for run in runs if not (self.setup.root / run).is_dir()), None)
        if missing:
            say(f"{missing}: only the record of this run is here; the report lacks what needs its checkpoints")
        return missing is None

    def _ensembles(self, results: dict[str, list[Result]]) -> list[dict[str, Any]]:
        """Return the report's entries for ensembles whose members are finished; eval scores the ensembles."""
        entries = []
        for ensemble in self.setup.suite.ensembles:
            if set(ensemble.members) <= set(results):
                runs = [results[member][0]["run"] for member in ensemble.members]
                if not self._has_checkpoints(runs):
                    continue
                try:
                    entries.append(self._ensemble(ensemble, runs))
                except (JobFailed, InputError, OSError) as error:
                    say(f"ensemble: {ensemble.description}: failed: {_line(error)}")
                    self.failed.append(ensemble.description)
        return entries

    def _ensemble(self, ensemble: Ensemble, runs: list[str]) -> dict[str, Any]:
        """Return the report's entry for an ensemble of these runs; raise JobFailed if eval cannot score it."""
        root, data = self.setup.root, self.setup.data
        splits = ["dev"] + ["test"] * data.has_test_labels
        files = {split: ensemble_folder(root, runs) / f"{split}.json" for split in splits}
        members_scored = max((root / run / "report" / "dev.json").stat().st_mtime_ns for run in runs)
        if not all(_is_fresh_mean(file, members_scored) for file in files.values()):
            say(f"ensemble: {ensemble.description}")
            flags = [f"--run={','.join(runs)}", f"--checkpoints={root}", f"--split={','.join(splits)}", *data.flags]
            log = self.setup.folder / "ensembles.log"
            ending = self.scheduler.runner.run("eval", flags, log, lambda line: None)
            if ending.status:
                raise JobFailed(f"{ending.message} (output: {log})")
        scores = {split: read_json(file, follow=False) for split, file in files.items()}
        best = max(scores["dev"]["members"], key=lambda member: member["macro_f1"])
        return {
            "ensemble": ensemble.description,
            "members": list(ensemble.members),
            "published": ensemble.published,
            **{f"{split}_{key}": scores[split][key] for split in splits for key in ("accuracy", "macro_f1")},
            "best_member": best["run"],
            "best_member_dev_macro_f1": best["macro_f1"],
        }

    def _predictions(self, run: str, folder: Path) -> list[str]:
        """Return the lines that `predict` prints for some images of the test split; [] if it fails."""
        test = folder / "test"
        try:
            images = [str(path) for name in class_folders(test) for path in _some_images(test / name)]
            images = images[:MOST_IMAGES]
            lines = output_lines("predict", [f"--run={run}", f"--checkpoints={self.setup.root}", *images])
            return [line.removeprefix(printable(f"{folder}/")) for line in lines[-len(images) :]]
        except (InputError, OSError) as error:
            say(f"predictions of {run}: failed: {error_line(error)}; the report has no predictions")
            self.failed.append(f"predictions of {run}")
            return []


def _some_images(folder: Path) -> list[Path]:
    """Return the first images of a class folder that can be decoded. --skip_broken allows damaged images in it."""
    images: list[Path] = []
    with suppress_warnings():
        for path in image_files(folder):
            if len(images) == IMAGES_PER_CLASS:
                break
            with suppress(BadImage):
                read_image(path)
                images.append(path)
    return images


def _line(error: JobFailed | InputError | OSError) -> str:
    return str(error) if isinstance(error, JobFailed) else error_line(error)


def _is_fresh_mean(file: Path, members_scored: int) -> bool:
    """Return whether eval wrote a file after `members_scored` (in nanoseconds), for an ensemble with equal weights."""
    try:
        scores = read_json(file, follow=False)
        return file.stat().st_mtime_ns > members_scored and scores["ensemble"] == "mean" and not scores["tta"]
    except (InputError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
