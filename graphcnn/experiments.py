"""Train a suite or a sweep of experiments, each in its own process and run folder, and write a report about them.

./run.sh experiments --suite=ladder --data=DIR
./run.sh experiments --suite=ladder --only=complex_1,complex_2 --seeds=3 --epochs=20
./run.sh experiments --recipe=fast --sweep="learning_rate=1,1.7 muon_learning_rate=0.06,0.12" --epochs=2
./run.sh experiments --sweep="learning_rate=1e-3,1e-4 keep_prob=0.6,0.8" --budget=60    one hour of successive halving

To continue after an interruption, call the same command again.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from absl.flags import FlagValues

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError
from graphcnn.common.processors import processors
from graphcnn.common.progress import say_if_slow
from graphcnn.config import flags, suites
from graphcnn.config.named import RECIPES
from graphcnn.data import sources
from graphcnn.sweeps import settings

LOCAL_FLAGS = ("checkpoints", "data_cache", "cache_dir", "from", "retrain")  # flags that concern only local folders
PLACES = {"data": "DIR", "label_file": "FILE"}  # {flag with a local path: what replaces the path in a report}
SETTINGS_NOTE = (  # in --help
    "A setting that is given as a flag applies to all experiments. Without the flag, each experiment has its own "
    "value. --epochs sets the length of the longest experiment. The other experiments, and their early-stopping "
    "patience, are scaled by the same factor."
)


def define_flags() -> FlagValues:
    """Return this command's flags."""
    values = flags.new_flags()
    text = f"suite to train: {', '.join(suites.SUITES)}; with --sweep: a name for the folder of the sweep"
    flags.define(values, str, "suite", None, text)
    flags.define_data(values, flags.TRAINING_DATA)
    text = "names of the experiments to train, separated by commas (default: all); the report has all finished ones"
    flags.define(values, str, "only", None, text)
    flags.define(values, int, "seeds", 1, "number of seeds of each experiment, counted up from the seed of its recipe")
    text = "number of experiments that are trained at a time, each on an equal number of processor cores"
    flags.define(values, int, "jobs", 1, text)
    text = (
        "rename each existing run that has another recipe, data, dev split or net to <run>.replaced-N, and train it "
        "again (default: end with an error and train nothing)"
    )
    flags.define(values, bool, "retrain", False, text)
    text = (
        "folder with records of finished runs, such as docs/results/ladder: they are in the report and are not trained "
        "again; the runs of this call add their records"
    )
    flags.define(values, str, "from", None, text)
    text = "settings and values to combine, instead of a suite: 'learning_rate=1e-3,1e-4 keep_prob=0.6,0.8'"
    flags.define(values, str, "sweep", None, text)
    text = f"recipe that --sweep changes: {', '.join(RECIPES)}, or SUITE/EXPERIMENT"
    flags.define(values, str, "recipe", "assignment", text)
    text = "minutes of training for --sweep, divided by successive halving (default: no limit)"
    flags.define(values, float, "budget", None, text)
    flags.define_checkpoints(values)
    text = "fraction of the training images in the dev split (default: the fraction of the suite)"
    flags.define_dev_split(values, None, text)
    flags.define_fit(values)
    flags.define_recipe(values, lambda values: flags.Defaults(SETTINGS_NOTE, {}))
    return values


def main(values: FlagValues, positional: list[str]) -> int:
    """Train the experiments that are not finished and write the report; return exit status 1 if one failed."""
    flags.no_positional(positional)
    _check(values)
    changes = flags.given_recipe_fields(values)
    if values.sweep is None:
        if values["recipe"].present:
            raise InputError("--recipe: is for --sweep; the experiments of a suite are recipes; drop --recipe")
        suite, name = settings.select_suite(values.suite), values.suite
    else:
        taken = {field: f"--{field}" for field in changes} | ({"epochs": "--budget"} if values.budget else {})
        suite = settings.parse_sweep(values.sweep, values.recipe, taken)
        name = settings.sweep_name(values.suite, values.recipe)
    selected = settings.select_experiments(suite, values.only)
    recipes = {experiment: settings.experiment_recipe(suite, experiment, changes) for experiment in suite.experiments}

    with say_if_slow("importing TensorFlow"):
        from graphcnn.sweeps.run_suite import Request, run_suite

    request = Request(
        name=name,
        suite=suite,
        recipes=recipes,
        selected=selected,
        recipe_name=None if values.sweep is None else values.recipe,
        root=flags.checkpoints_root(values),
        source=values.data,
        options=flags.given_options(values),
        dev_split=values.dev_split,
        dev_fraction=values.dev_fraction,
        records=_records(values),
        retrain=values.retrain,
        seeds=values.seeds,
        jobs=values.jobs,
        budget=None if values.budget is None else 60 * values.budget,
        command=_command(values, folders=False),
        full_command=_command(values, folders=True),
    )
    return run_suite(request)


def _check(values: FlagValues) -> None:
    """Refuse invalid values of --seeds, --jobs, --budget and --dev_split."""
    most = len(processors())
    if values.seeds < 1:
        raise InputError(f"--seeds: found {values.seeds}, expected a whole number at least 1")
    if not 1 <= values.jobs <= most:
        raise InputError(f"--jobs: found {values.jobs}, expected a whole number from 1 to {most} (the processors)")
    if values.budget is not None and not (values.sweep and values.budget > 0):
        raise InputError(f"--budget: found {values.budget:g}, expected minutes above 0, together with --sweep")
    flags.dev_split(values)


def _records(values: FlagValues) -> Path | None:
    """Return the folder of --from; create it if only its last part is missing."""
    value = values["from"].value
    if value is None:
        return None
    folder = Path(value).resolve()
    if not folder.is_dir() and (folder.exists() or not folder.parent.is_dir()):
        raise InputError(f"--from={value}: this is not a folder; name the folder that holds the records")
    folder.mkdir(exist_ok=True)
    return folder


def _command(values: FlagValues, folders: bool) -> str:
    """Return the command line. Without `folders`, PLACES replace local paths, and LOCAL_FLAGS are left out."""
    words = [paths.PROGRAM, "experiments"]
    for flag in sorted(values):
        value = str(values[flag].value)
        if values[flag].present and (folders or flag not in LOCAL_FLAGS):
            hidden = flag in PLACES and value not in sources.NAMES and not folders
            words.append(f"--{flag}={PLACES[flag] if hidden else shlex.quote(value)}")
    return " ".join(words)


if __name__ == "__main__":
    sys.exit(run_command("experiments", __doc__, define_flags(), main))
