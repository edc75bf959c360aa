"""Commands that test_system_calls.py disturbs, with their initial files, their output and what they must not lose."""

import json
import re
import zipfile

from in_process import without_clocks
from trials import SMALL, best_score, kept

from graphcnn.common.errors import InputError
from graphcnn.storage import checkpoint
from graphcnn.storage.run import Run
from graphcnn.storage.state import read_state

NET = [*SMALL, "--precision=float32"]
TEMPORARY = re.compile(r"\..+\.(new|old)")


def files_of(folder):
    """Return {path below a folder: bytes} of its files, without temporary files and locks."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else [folder]
    hidden = [path for path in paths if any(name.startswith(".") for name in path.relative_to(folder).parts)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.exists() and path not in hidden}


def leftovers(work):
    """Return the temporary files and folders below a folder."""
    return [path for path in work.rglob("*") if TEMPORARY.fullmatch(path.name)]


def damaged_checkpoint(work, name, epochs):
    """Return a description of what is wrong with the checkpoints of a run, or ""; epochs: finished before the fault."""
    run = Run(work, name)
    for link, saved in (("last", run.has_last()), ("best", run.has_best())):
        if not saved and epochs:
            return f"`{link}` is missing"
        if saved:
            try:
                epoch = read_state(checkpoint.verify(run, link))["epoch"]
            except InputError as error:
                return str(error)
            if link == "last" and epoch < epochs:
                return f"`last` is epoch {epoch}, expected at least {epochs}"
    return ""


class Scenario:
    """A command that is disturbed, and the checks after it. Its files are in the folder `work`.

    Args:
        shared: a folder with the folders `data` and `photos`, which no command changes.
    """

    name = ""
    statuses = (0, 2)  # exit statuses of a command in which a call fails

    def __init__(self, shared):
        self.data, self.photos = shared / "data", shared / "photos"

    def begin(self, work, run):
        """Write the initial files into `work`; run(command, argument, …) runs an earlier command."""

    def command(self, work):
        """Return the command and its arguments."""
        raise NotImplementedError

    def result(self, work):
        """Return the output of the command, for comparison with an undisturbed command."""
        raise NotImplementedError

    def lost(self, work, initial, expected):
        """Return a description of what is lost after a fault, or "".

        Args:
            work: the folder after the fault.
            initial: a copy of the folder before the command.
            expected: result() of an undisturbed command.
        """
        raise NotImplementedError

    def train(self, work, *flags):
        """Return the command that trains a run."""
        return ["train", f"--data={self.data}", f"--checkpoints={work}", *NET, *flags]


class Train(Scenario):
    """A new run."""

    name = "train"

    def command(self, work):
        return self.train(work, "--run=run", "--resume", "--epochs=2")

    def result(self, work):
        return kept(work / "run"), best_score(work / "run")

    def lost(self, work, initial, expected):
        return damaged_checkpoint(work, "run", 0)


class Resume(Train):
    """A run that is continued."""

    name = "resume"

    def begin(self, work, run):
        run(*self.train(work, "--run=run", "--epochs=2"))

    def command(self, work):
        return self.train(work, "--run=run", "--resume", "--epochs=4")

    def lost(self, work, initial, expected):
        damage = damaged_checkpoint(work, "run", 2)
        return damage or ("" if kept(work / "run")[2][:2] == kept(initial / "run")[2] else "history.csv lost epochs")


class Eval(Scenario):
    """A run that is scored again."""

    name = "eval"

    def begin(self, work, run):
        run(*self.train(work, "--run=run", "--epochs=2"))
        run(*self.command(work))

    def command(self, work):
        return ["eval", f"--checkpoints={work}", "--run=run", "--split=dev,test"]

    def result(self, work):
        return kept(work / "run"), files_of(work / "run" / "report")

    def lost(self, work, initial, expected):
        return "" if self.result(work) == expected else "the run or its old report changed"


class EvalNewest(Eval):
    """The newest of two runs, without --run, scored for the first time."""

    name = "eval of the newest run"

    def begin(self, work, run):
        for name in ("old", "run"):
            run(*self.train(work, f"--run={name}", "--epochs=1"))

    def command(self, work):
        return ["eval", f"--checkpoints={work}", "--split=dev"]

    def lost(self, work, initial, expected):
        changed = kept(work / "run") != expected[0] or (work / "old" / "report").exists()
        report = files_of(work / "run" / "report") if (work / "run" / "report").exists() else {}
        wrong = changed or any(expected[1].get(name) != content for name, content in report.items())
        return "another run was scored, or a report is incomplete" if wrong else ""


class Replaced(Scenario):
    """An output of the run `a`, which an output of the run `b` replaces."""

    def begin(self, work, run):
        for name, seed in (("a", 1), ("b", 2)):
            run(*self.train(work, f"--run={name}", f"--seed={seed}", "--epochs=1"))
        run(*self.output(work, "a"))

    def output(self, work, name):
        raise NotImplementedError

    def command(self, work):
        return self.output(work, "b")

    def lost(self, work, initial, expected):
        entries = zip(self.result(work), self.result(initial), expected, strict=True)
        return "" if all(now in (old, new) for now, old, new in entries) else "the output is neither old nor new"


class Submit(Replaced):
    """A submission that replaces another one."""

    name = "submit"

    def output(self, work, name):
        return ["submit", f"--checkpoints={work}", f"--run={name}", f"--out={work / 'out'}"]

    def result(self, work):
        with zipfile.ZipFile(work / "out.zip") as archive:
            return files_of(work / "out"), {name: archive.read(name) for name in archive.namelist()}


class ExportFile(Replaced):
    """An exported file that replaces another one."""

    name = "export-npz"
    ending = "npz"

    def output(self, work, name):
        out = work / f"out.{self.ending}"
        return ["export", f"--checkpoints={work}", f"--run={name}", f"--format={self.ending}", f"--out={out}"]

    def result(self, work):
        return (files_of(work / f"out.{self.ending}"),)


class ExportFolder(ExportFile):
    """An exported folder that replaces another one."""

    name = "export-savedmodel"
    ending = "savedmodel"


class Experiments(Scenario):
    """A suite with a finished experiment and a new one."""

    name = "experiments"
    statuses = (0, 1, 2)  # 1: an experiment failed, and the command says which
    RUNS = ("four_layer_1-seed51", "four_layer_2-seed51")

    def suite(self, work, only):
        flags = ["--suite=ladder", "--epochs=1", "--image_size=16", "--batch_size=16", "--precision=float32"]
        return ["experiments", f"--data={self.data}", f"--checkpoints={work}", f"--only={only}", *flags]

    def begin(self, work, run):
        run(*self.suite(work, "four_layer_1"))

    def command(self, work):
        return self.suite(work, "four_layer_1,four_layer_2")

    def result(self, work):
        runs = {name: kept(work / "ladder" / name) for name in self.RUNS if (work / "ladder" / name).exists()}
        names = {name for name in files_of(work / "ladder") if "/events/" not in name}
        return runs, names, without_clocks(json.loads((work / "ladder" / "report.json").read_text()))

    def lost(self, work, initial, expected):
        finished, before = work / "ladder" / self.RUNS[0], initial / "ladder" / self.RUNS[0]
        folders = [path.name for path in finished.parent.glob(f"{finished.name}*") if path.is_dir()]
        times = [(folder / "last" / "model.ckpt.index").stat().st_mtime_ns for folder in (finished, before)]
        if folders != [finished.name] or times[0] != times[1] or kept(finished) != kept(before):
            return f"the finished run was trained again: {folders}"
        return ""


class Images(Scenario):
    """The cache of decoded images, empty."""

    name = "image cache"

    def command(self, work):
        return self.train_photos(work, "run")

    def train_photos(self, work, name):
        flags = [f"--data={self.photos}", f"--cache_dir={work / 'cache'}", "--skip_broken"]
        return self.train(work, f"--run={name}", "--resume", "--epochs=1", *flags)

    def result(self, work):
        return kept(work / "run"), files_of(work / "cache")

    def lost(self, work, initial, expected):
        wrong = [name for name, content in files_of(work / "cache").items() if expected[1].get(name) != content]
        return ", ".join(wrong) or damaged_checkpoint(work, "run", 0)


class ImagesAgain(Images):
    """The cache of decoded images, filled by another run."""

    name = "image cache, filled"

    def begin(self, work, run):
        run(*self.train_photos(work, "first"))


class Features(Images):
    """The cache of backbone features, empty."""

    name = "feature cache"

    def begin(self, work, run):
        run(*self.train(work, "--run=source", "--batch_norm", "--epochs=1"))

    def command(self, work):
        return self.train_head(work, "run")

    def train_head(self, work, name):
        head = ["--batch_norm", "--weights=source", "--head=pooled", "--freeze=backbone"]
        flags = [f"--cache_dir={work / 'cache'}", f"--run={name}", "--resume", "--epochs=2"]
        return self.train(work, *head, *flags)


class FeaturesAgain(Features):
    """The cache of backbone features, filled by another run."""

    name = "feature cache, filled"

    def begin(self, work, run):
        super().begin(work, run)
        run(*self.train_head(work, "first"))


SCENARIOS = (
    Train, Resume, Eval, EvalNewest, Submit, ExportFile, ExportFolder, Experiments,
    Images, ImagesAgain, Features, FeaturesAgain,
)  # fmt: skip
