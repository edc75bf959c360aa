"""What the command lines share: flags, help, and how errors end."""

import dataclasses
import re
from pathlib import Path

from absl import flags

from graphcnn.common import paths
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config.recipe import ALIASES, PRECISIONS, Recipe, check_one_name

SPLITS = ("dev", "train", "test")
FOLDERS = ("data_cache", "cache_dir")
DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    bool: flags.DEFINE_boolean,
}


class CommandFlags(flags.FlagValues):
    """The flags of one command. An old name is understood as an alias, but is not a flag by itself.

    Args:
        aliases: {old name of a flag: its name}, beside the old names of settings.
    """

    def __init__(self, aliases=None):
        super().__init__()
        self.__dict__["aliases"] = ALIASES | (aliases or {})  # a plain attribute would be a flag

    def read_flags_from_files(self, argv, force_gnu=True):
        """Return the arguments with those of flag files, each flag under its present name."""
        argv = super().read_flags_from_files(argv, force_gnu)
        end = argv.index("--") if "--" in argv else len(argv)
        matches = [re.match(r"--?(\w+)(?==|$)", argument) for argument in argv[:end]]
        names = {match[1] for match in matches if match}
        check_one_name(names, "", "--", self.aliases)
        for n, match in enumerate(matches):
            name = self.aliases.get(match[1]) if match else None
            if name in self:
                argv[n] = f"--{name}{argv[n][match.end() :]}"
        return argv


def new_flags(aliases=None):
    """Return CommandFlags with --debug; each command has its own, so nothing is global."""
    values = CommandFlags(aliases)
    values.set_gnu_getopt(True)
    flags.DEFINE_boolean("debug", False, "show the traceback of an error", flag_values=values)
    return values


def define(values, kind, name, default, help):
    """Add a flag of type int, float, str or bool."""
    DEFINE[kind](name, default, help, flag_values=values)


def define_run(values, default="the newest"):
    """Add --run and --checkpoints; `default` says in the help which run is meant without --run."""
    define(values, str, "run", None, f"the run's name (default: {default})")
    define(values, str, "checkpoints", None, "folder of the runs (default: checkpoints/ beside the package)")


def define_net(values):
    """Add --net and --weights, for a command that takes an ImageNet net in a run's place."""
    define(values, str, "net", None, "an ImageNet net with published weights, in a run's place")
    text = "of --net: imagenet (the published ones) or FILE.h5, for 1,000 classes"
    define(values, str, "weights", "imagenet", text)


def net(values, others):
    """Return --net; refused beside a flag that is a run's, `others` names them."""
    for flag in others if values.net else ():
        if values[flag].present:
            raise InputError(f"--{flag}: is a run's, and --net stands in a run's place; drop one of them")
    if values["weights"].present and not values.net:
        raise InputError("--weights: is of --net; name a net, or drop it")
    return values.net


def define_ensemble(values):
    """Add --run for several runs, --checkpoints and --ensemble."""
    define_run(values, "the newest; a,b,c: several as one")
    text = "of several runs: mean of their softmax outputs, or fitted (weighted, by the likelihood of the dev labels)"
    define(values, str, "ensemble", "mean", text)


def ensemble(values):
    """Return whether --run names several runs; --ensemble is checked."""
    kinds = ("mean", "fitted")
    if values.ensemble not in kinds:
        raise InputError(f"--ensemble: {unknown_name(values.ensemble, kinds)}")
    several = values.run is not None and "," in values.run
    if values["ensemble"].present and not several:
        raise InputError(f"--ensemble={values.ensemble}: is for several runs; name them as --run=a,b,c, or drop it")
    return several


def define_data(values, help="where the data lies now (default: where the run recorded it)"):
    """Add --data and the flags that say how it is loaded; the help is that of a command that reads a recorded run."""
    define(values, str, "data", None, help)
    text = "folder of what is downloaded: --data=cifar10, --weights=imagenet (default: ~/.cache/graphcnn)"
    define(values, str, "data_cache", None, text)
    define(values, str, "cache_dir", None, "folder for decoded image folders (default: ~/.cache/graphcnn)")
    define(values, bool, "skip_broken", False, "leave out files of an image folder that are no images, naming each")


def given_options(values):
    """Return {name: value} of the given flags that are fields of DataOptions, folders as absolute paths."""
    folders = {name: str(Path(values[name].value).resolve()) for name in FOLDERS if values[name].value}
    return folders | ({"skip_broken": values.skip_broken} if values["skip_broken"].present else {})


def define_tta(values):
    """Add --tta."""
    text = "average the logits over the views that training showed too: mirrored, shifted (test-time augmentation)"
    define(values, bool, "tta", False, text)


def define_precision(values, default, said=""):
    """Add --precision for a command that trains nothing; `said` explains a default of None."""
    text = f"of convolutions and matmuls: auto (bfloat16 where the CPU is faster with it) | float32 | bfloat16{said}"
    define(values, str, "precision", default, text)


def precision(values):
    """Return --precision (None where it has no default and is not given), or refuse it with the nearest match."""
    if values.precision not in (None, *PRECISIONS):
        raise InputError(f"--precision: {unknown_name(values.precision, PRECISIONS)}")
    return values.precision


def define_recipe(values, said=""):
    """Add a flag per Recipe field, without a default: the recipe's row has it."""
    for field in dataclasses.fields(Recipe):
        choices = field.metadata["choices"]
        limits = f" [{' | '.join(choices)}]" if choices and choices[0] not in field.metadata["help"] else ""
        define(
            values,
            field.type,
            field.name,
            None,
            f"{field.metadata['help']}{limits} {said or f'(assignment: {field.default})'}",
        )


def given_recipe_fields(values):
    """Return {field: value} of the recipe flags that were given."""
    names = [field.name for field in dataclasses.fields(Recipe)]
    return {name: values[name].value for name in names if values[name].present}


def no_positional(positional):
    """Refuse arguments that are not flags."""
    if positional:
        raise InputError(f"found {positional[0]!r}, expected only flags such as --run=NAME; --help lists them")


def checkpoints_root(values):
    """Return the folder of the runs as an absolute Path."""
    return Path(values.checkpoints).resolve() if values.checkpoints else paths.CHECKPOINTS
