"""The flags that several commands share: their definitions, and the checks of their values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from graphcnn.common import paths
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config.command_flags import DATA, MOST_USED, CommandFlags, Defaults
from graphcnn.config.recipe import NET, PRECISIONS, RUN, Recipe

SPLITS = ("dev", "train", "test")
DEV_SPLITS = ("first", "stratified")
FITS = ("crop", "pad", "stretch")
ENSEMBLES = ("mean", "fitted")
OWN_NET = re.compile(r".+\.py:\w+")  # a net in a Python file of the user
FOLDERS = ("data_cache", "cache_dir")
DATA_PATHS = (*FOLDERS, "label_file")
TRAINING_DATA = (
    "data to train on: a folder with x_train.npy and y_train.npy, a .npz file, a folder of IDX files (MNIST), a folder "
    f"of images, cifar10 or digits (default: data/ {paths.BASE_NAME} if it holds x_train.npy, else digits)"
)
DEFINE: dict[type, Callable[..., object]] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    bool: flags.DEFINE_boolean,
}


def new_flags(aliases: Mapping[str, str] | None = None) -> CommandFlags:
    """Return CommandFlags with --debug. Each command has its own, so nothing is global.

    Args:
        aliases: {old name: present name} of this command's flags. The old names of settings are always accepted.
    """
    values = CommandFlags(aliases)
    values.set_gnu_getopt(True)
    define(values, bool, "debug", False, "print the traceback of an error", group=RUN)
    return values


def define(values: FlagValues, kind: type, name: str, default: object, help: str, *, group: str = MOST_USED) -> None:
    """Add a flag.

    Args:
        values: flags of the command.
        kind: int, float, str or bool.
        name: the flag's name without dashes.
        default: value without the flag. None: `help` tells what happens then.
        help: a full phrase.
        group: heading in --help, one of command_flags.GROUPS.
    """
    DEFINE[kind](name, default, help, flag_values=values, module_name=group)


def define_run(values: FlagValues, default: str = "the newest run") -> None:
    """Add --run and --checkpoints. `default` tells in the help which run is used without --run."""
    define(values, str, "run", None, f"name of the run (default: {default})")
    define_checkpoints(values)


def define_checkpoints(values: FlagValues) -> None:
    """Add --checkpoints."""
    text = f"folder that holds all runs (default: checkpoints/ {paths.BASE_NAME})"
    define(values, str, "checkpoints", None, text, group=RUN)


def define_net(values: FlagValues) -> None:
    """Add --net and --weights, for a command that takes an ImageNet network instead of a run."""
    text = (
        "ImageNet network with published weights, to use instead of a run; or PATH/FILE.py:NAME, if the run was "
        "trained with this net of your own; the file is executed"
    )
    define(values, str, "net", None, text, group=NET)
    text = "weights for --net: imagenet (the published ones), or FILE.h5 with weights for 1,000 classes"
    define(values, str, "weights", "imagenet", text, group=NET)


def net(values: FlagValues, run_flags: Iterable[str]) -> str | None:
    """Return --net if it names an ImageNet network. `run_flags`, which need a run, are then refused."""
    replaced = values.net and not own_net(values)
    for flag in run_flags if replaced else ():
        if values[flag].present:
            raise InputError(f"--{flag}: needs a run, but --net replaces the run; remove one of the two flags")
    if values["weights"].present and not replaced:
        raise InputError("--weights: needs --net; name a network with --net, or remove --weights")
    return values.net if replaced else None


def define_ensemble(values: FlagValues) -> None:
    """Add --run for several runs, --checkpoints and --ensemble."""
    define(values, str, "run", None, "name of the run, or a,b,c for an ensemble of runs (default: the newest run)")
    text = (
        "combination of the softmax outputs of several runs: mean, or fitted (weighted mean; the weights are fitted by "
        "maximum likelihood on the dev split)"
    )
    define(values, str, "ensemble", "mean", text, group=RUN)
    define_checkpoints(values)


def ensemble(values: FlagValues) -> bool:
    """Check --ensemble and return whether --run names several runs."""
    if values.ensemble not in ENSEMBLES:
        raise InputError(f"--ensemble: {unknown_name(values.ensemble, ENSEMBLES)}")
    several = values.run is not None and "," in values.run
    if values["ensemble"].present and not several:
        raise InputError(f"--ensemble={values.ensemble}: needs several runs, as --run=a,b,c; add them or remove it")
    return several


def model_arguments(values: FlagValues, run: str | None) -> dict[str, Any]:
    """Return the arguments of select_model that come from the flags of a command.

    Args:
        values: flags of the command.
        run: the value of --run, or of another flag that names runs.
    """
    names = [name for name in ("tta", "calibrated", "allow_changed_net") if name in values]
    combination = values.ensemble if run and "," in run else "mean"
    own = own_net(values)
    if values.net and not own and "weights" not in values:
        raise InputError(f"--net={values.net}: expected PATH/FILE.py:NAME, the net of your own that the run has")
    return {"run": run, "ensemble": combination, "own_net": own, **{name: values[name].value for name in names}}


def define_data(
    values: FlagValues,
    help: str = "data of the run: a folder, a .npz file, cifar10 or digits (default: the data that the run recorded)",
) -> None:
    """Add --data and the flags for loading it. The default of `help` is for a command that reads a run."""
    define(values, str, "data", None, help)
    text = "folder for downloads: CIFAR-10 and published weights (default: ~/.cache/graphcnn)"
    define(values, str, "data_cache", None, text, group=DATA)
    text = "folder for decoded images and backbone features (default: ~/.cache/graphcnn)"
    define(values, str, "cache_dir", None, text, group=DATA)
    text = (
        "CSV file with the labels of a folder of images that has no class folders: columns file_name, label and "
        "optionally split (train, val or test)"
    )
    define(values, str, "label_file", None, text, group=DATA)
    text = "skip files in a folder of images that are not readable images, and print the name of each"
    define(values, bool, "skip_broken", False, text, group=DATA)


def define_dev_split(values: FlagValues, default: float | None, help: str) -> None:
    """Add --dev_fraction with this default and help, and --dev_split."""
    define(values, float, "dev_fraction", default, help, group=DATA)
    text = (
        "how the dev split is chosen: first (the first training images) or stratified (random images, the same "
        "fraction of each class) (default: first for arrays in files and CIFAR-10, else stratified); refused if the "
        "data have a folder with the dev split, such as val/"
    )
    define(values, str, "dev_split", None, text, group=DATA)


def define_fit(values: FlagValues) -> None:
    """Add --fit."""
    text = (
        "how image files that are not square are brought to a square: crop (the largest centred square), pad (black "
        "bars), or stretch (the aspect ratio changes)"
    )
    define(values, str, "fit", "crop", text, group=DATA)


def dev_split(values: FlagValues) -> str | None:
    """Check --dev_split and return it; None if it is not given."""
    if values.dev_split not in (None, *DEV_SPLITS):
        raise InputError(f"--dev_split: {unknown_name(values.dev_split, DEV_SPLITS)}")
    return values.dev_split


def given_options(values: FlagValues) -> dict[str, Any]:
    """Return {field of DataOptions: value} for the flags that are given. Paths are absolute."""
    given: dict[str, Any] = {
        name: str(Path(str(values[name].value)).resolve()) for name in DATA_PATHS if values[name].value
    }
    for name in ("skip_broken", "fit"):
        if name in values and values[name].present:
            given[name] = values[name].value
    if given.get("fit", FITS[0]) not in FITS:
        raise InputError(f"--fit: {unknown_name(given['fit'], FITS)}")
    return given


def define_allow_changed_net(values: FlagValues, verb: str = "use") -> None:
    """Add --allow_changed_net; `verb` tells in the help what the command does with the run."""
    text = f"{verb} a run although the code of its net has changed after its training"
    define(values, bool, "allow_changed_net", False, text, group=RUN)


def define_own_net(values: FlagValues) -> None:
    """Add --net, for a command that uses runs only."""
    text = "PATH/FILE.py:NAME, if the run was trained with this net of your own; the file is executed"
    define(values, str, "net", None, text, group=NET)


def own_net(values: FlagValues) -> str | None:
    """Return --net if it names a net in a Python file: PATH/FILE.py:NAME."""
    return values.net if values.net and OWN_NET.fullmatch(values.net) else None


def define_tta(values: FlagValues) -> None:
    """Add --tta."""
    text = (
        "test-time augmentation: average the logits over each image, its mirror image (if trained with --flip) and its "
        "shifts by one pixel (if trained with --translate)"
    )
    define(values, bool, "tta", False, text)


def define_calibrated(values: FlagValues) -> None:
    """Add --calibrated."""
    text = (
        "calibrated probabilities: softmax(logits / T) with the temperature T that eval --calibrate has fitted for the "
        "run"
    )
    define(values, bool, "calibrated", False, text)


def define_precision(values: FlagValues, default: str) -> None:
    """Add --precision for a command that does not train."""
    text = (
        "precision of convolutions and matrix products: float32, bfloat16, or auto (bfloat16 if the CPU has fast "
        "instructions for it)"
    )
    define(values, str, "precision", default, text, group=RUN)


def precision(values: FlagValues) -> str:
    """Check --precision and return it."""
    chosen: str = values.precision
    if chosen not in PRECISIONS:
        raise InputError(f"--precision: {unknown_name(chosen, PRECISIONS)}")
    return chosen


def define_recipe(
    values: CommandFlags, defaults: Callable[[CommandFlags], Defaults], most_used: Iterable[str] = ()
) -> None:
    """Add a flag for each setting of a recipe. The default of each flag is None: the recipe has the defaults.

    Args:
        values: flags of the command.
        defaults: returns the defaults that --help shows. Its argument holds the flags given with --help.
        most_used: settings that --help shows in its first group.
    """
    for field in dataclasses.fields(Recipe):
        choices, help, group = (field.metadata[key] for key in ("choices", "help", "group"))
        if choices and not all(choice in help for choice in choices):
            help = f"{help}: {', '.join(choices[:-1])} or {choices[-1]}"
        assert isinstance(field.type, type)
        define(values, field.type, field.name, None, help, group=MOST_USED if field.name in most_used else group)
    values.show_defaults(defaults)


def recipe_defaults(recipe: Recipe, note: str) -> Defaults:
    """Return the settings of a recipe as Defaults of --help. `note` names the recipe."""
    return Defaults(note, dataclasses.asdict(recipe))


def given_recipe_fields(values: FlagValues) -> dict[str, Any]:
    """Return {setting: value} for the settings that are given as flags."""
    names = [field.name for field in dataclasses.fields(Recipe)]
    return {name: values[name].value for name in names if values[name].present}


def no_positional(positional: list[str]) -> None:
    """Refuse arguments that are not flags."""
    if positional:
        raise InputError(f"found {positional[0]!r}, expected only flags such as --run=NAME; --help lists them")


def checkpoints_root(values: FlagValues) -> Path:
    """Return the folder of the runs as an absolute path."""
    return Path(values.checkpoints).resolve() if values.checkpoints else paths.CHECKPOINTS
