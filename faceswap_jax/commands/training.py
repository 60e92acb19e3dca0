"""Commands that train, and that tell about trainings."""

import difflib
from collections.abc import Sequence
from pathlib import Path

import ml_collections
from absl import flags
from ml_collections import config_flags

from faceswap_jax import config as configs
from faceswap_jax.commands import base, comments
from faceswap_jax.commands.base import ANY_NUMBER, Command, paths
from faceswap_jax.errors import InputError

FIELD = "--config."
"""Begins the flags that change a value of the experiment."""
FIELD_WIDTH = 32  # of field and value in the help


class Train(Command):
    """Train a model, or continue where it stopped."""

    name = "train"
    usage = "--config FILE --workdir DIR [--config.FIELD=VALUE ...]"
    required = ("config", "workdir")

    def define(self, values, arguments):
        define_config(values, arguments)
        flags.DEFINE_string("workdir", None, "Folder of the run: made, or continued.", values)
        flags.DEFINE_boolean("distributed", False, "One of several processes, see launch/.", values)
        meaning = "Steps to trace for XProf, first:last; into WORKDIR/profile. By default none."
        flags.DEFINE_string("profile", None, meaning, values)

    def run(self, values, inputs):
        from faceswap_jax.parallel import distributed
        from faceswap_jax.reporting.profile import Profile
        from faceswap_jax.train import train

        workdir = Path(values.workdir)
        profile = None
        if values.profile is not None:
            profile = Profile.parse(values.profile, workdir / "profile")
        # Before anything starts JAX
        if values.distributed:
            distributed.start()
        train(values.config, workdir, profile)

    def more_help(self, arguments):
        return fields_help(arguments)


class Compile(Command):
    """What a training step costs on TPUs, GPUs or N devices, by compiling it; needs neither them nor data."""

    name = "compile"
    usage = "--config FILE --topology NAME|--devices N [--personas N] [--fit batch] [--config.FIELD=VALUE ...]"
    required = ("config",)

    def define(self, values, arguments):
        define_config(values, arguments)
        flags.DEFINE_string(
            "topology",
            None,
            "What to compile for: v5e, v5p or v6e and the chips along each side, e.g. v5e:4x4, by the extra `tpu`; or "
            "h100 and their number, e.g. h100:8, on two hosts h100:2x8, by the extra `cuda`.",
            values,
        )
        flags.DEFINE_integer("devices", None, "CPU devices to simulate instead.", 1, None, values)
        flags.DEFINE_integer("personas", 8, "How many the data would have.", 1, None, values)
        flags.DEFINE_list(
            "fit",
            [],
            "`batch`: instead search the largest config.batch that the chips hold, from the given one on, in a few "
            "compilations. `batch,precision,remat` compares bfloat16 and float32, and config.model.remat, too.",
            values,
        )

    def run(self, values, inputs):
        from faceswap_jax.cost.report import compile_phases

        if (values.topology is None) == (values.devices is None):
            raise InputError(
                "Give either --topology, e.g. v5e:4x4 or h100:8, or --devices, how many to simulate."
            )
        if values.fit and "batch" not in values.fit:
            raise InputError(f"--fit has to have batch, not {','.join(values.fit)} alone.")
        if values.fit and values.topology is None:
            raise InputError(
                "--fit needs --topology: simulated devices have no memory of their own."
            )
        compile_phases(
            values.config,
            values.personas,
            devices=values.devices or 0,
            topology=values.topology or "",
            fit=values.fit,
        )

    def more_help(self, arguments):
        return fields_help(arguments)


class Status(Command):
    """Show how far a run is, its curves and the time left; of several runs or a sweep, a line each."""

    name = "status"
    usage = "DIR..."
    inputs = (1, ANY_NUMBER)

    def run(self, values, inputs):
        from faceswap_jax.reporting.status import status

        print(status(paths(inputs)))


class Sweep(Command):
    """Search hyperparameters with trials of `train`; run it again to continue."""

    name = "sweep"
    usage = "FILE --output DIR [--local N] [--devices N,...] [--config.FIELD=VALUE ...]"
    inputs = (1, 1)
    required = ("output",)

    def define(self, values, arguments):
        flags.DEFINE_integer(
            "local",
            None,
            "How many trials to run on this machine, in all. By default the file's run_cap, or the whole grid.",
            1,
            None,
            values,
        )
        flags.DEFINE_string("output", None, "Folder of all trials, made or continued.", values)
        flags.DEFINE_list(
            "devices",
            None,
            "Numbers of GPUs, separated by commas: one trial on each at once. By default one trial after the other, "
            "which sees every device.",
            values,
        )
        for name in fields_in(arguments):
            flags.DEFINE_string(f"config.{name}", None, "", values)

    def run(self, values, inputs):
        from faceswap_jax.sweeps import files, journal, trials

        # Fields of the experiment, for all trials
        overrides = []
        for name in values:
            if name.startswith("config."):
                overrides.append(f"--{name}={values[name].value}")
        search = files.load(Path(inputs[0]), overrides, read_train_config)
        count = files.count_of(search, values.local)
        output = Path(values.output)
        # A sweep that has begun was checked then.
        if not journal.has_outcomes(output):
            from faceswap_jax.sweeps import foresight

            foresight.check_trials(search, count, read_train_config)
        good = trials.sweep(search, count, output, values.devices or [None])
        return 0 if good else 1


def read_train_config(arguments: Sequence[str]) -> ml_collections.ConfigDict:
    """The config that the arguments of `faceswap train` describe; other flags may be missing.

    Raises:
        InputError: a flag or a value is wrong.
        flags.Error: likewise.
    """
    values = flags.FlagValues()
    Train().define(values, arguments)
    values(["faceswap train", *arguments], known_only=True)
    return values.config


def define_config(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    """The flag for an experiment file, and those for its fields.

    Raises:
        InputError: the file cannot be used, or it has no such field.
    """
    path = experiment_of(arguments)
    # absl would only say that the flag is unknown.
    if path is not None:
        known = configs.fields(configs.from_experiment(path))
        for name in fields_in(arguments):
            if name not in known:
                (close,) = difflib.get_close_matches(name, known, n=1, cutoff=0)
                raise InputError(f"'{path}' has no field '{name}'; did you mean {FIELD}{close}?")
    config_flags.DEFINE_config_file(
        "config",
        None,
        "Experiment file; --config.FIELD=VALUE changes a value, `--config FILE --help` lists the fields.",
        flag_values=values,
        sys_argv=list(arguments),
    )


def fields_in(arguments: Sequence[str]) -> list[str]:
    """The fields that flags change, each once."""
    names = []
    for argument in arguments:
        name = argument.removeprefix(FIELD).partition("=")[0]
        if argument.startswith(FIELD) and name not in names:
            names.append(name)
    return names


def experiment_of(arguments: Sequence[str]) -> Path | None:
    """The file that --config names.

    Raises:
        flags.Error: its name is missing.
    """
    # The flags of the fields are defined by this file: they are not known yet.
    values = flags.FlagValues()
    flags.DEFINE_string("config", None, "", values)
    values(["faceswap", *arguments], known_only=True)
    return None if values.config is None else Path(values.config)


def fields_help(arguments: Sequence[str]) -> str:
    """The fields of the experiment that --config names, with their values and what the files say of them."""
    path = experiment_of(arguments)
    if path is None:
        return ""
    described = comments.of_experiment(path)
    lines = ["", "", f"Fields of {path}:", ""]
    for name, value in configs.fields(read_train_config(arguments)).items():
        # What is said of a whole group serves its fields.
        group = name.rpartition(".")[0]
        text = described.get(name) or described.get(group, "")
        lines.append(base.explained(f"{FIELD}{name}={value}", text, FIELD_WIDTH))
    return "\n".join(lines)
