"""The `faceswap` command: flags of every subcommand and one function call each."""

import difflib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from absl import flags, logging
from ml_collections import config_flags

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError, JobError
from faceswap_jax.training import cache as compilation


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        usage: its arguments, after the name. A flag without a default must be given.
        summary: one line for `faceswap --help`.
        define: defines its flags.
        run: does it, given the parsed flags and the positional arguments, and returns the exit code, None for 0.
            Imports happen inside, so that help is fast.
        positional: least and greatest number of positional arguments.
    """

    usage: str
    summary: str
    define: Callable[[flags.FlagValues, Sequence[str]], None]
    run: Callable[[flags.FlagValues, Sequence[str]], int | None]
    positional: tuple[int, float]


def _define_prepare(fv: flags.FlagValues, _argv) -> None:
    from data_pipelines.prepare.settings import Settings

    flags.DEFINE_string(
        "output",
        None,
        "Folder to make or to continue, with the face tracks and their manifest.",
        fv,
    )
    cores = len(os.sched_getaffinity(0))
    flags.DEFINE_integer(
        "processes", cores, "How many clips are worked on at once.", lower_bound=1, flag_values=fv
    )
    Settings.define_flags(fv)


def _prepare(fv, inputs) -> None:
    from data_pipelines.prepare.prepare import prepare
    from data_pipelines.prepare.settings import Settings

    prepare([Path(i) for i in inputs], Path(fv.output), Settings.from_flags(fv), fv.processes)


def _define_verify(fv: flags.FlagValues, _argv) -> None:
    flags.DEFINE_boolean(
        "repair", False, "Drop what is broken and write the manifest anew.", flag_values=fv
    )


def _verify(fv, inputs) -> int:
    from data_pipelines.prepare.verify import verify

    return 0 if verify(Path(inputs[0]), fv.repair) else 1


def _define_config(fv: flags.FlagValues, argv) -> None:
    path = flags.FlagValues()
    flags.DEFINE_string("config", None, "", path)
    path(["faceswap", *argv], known_only=True)
    if path.config is not None:
        known = configs.fields(configs.from_experiment(Path(path.config)))
        for name in (
            a.removeprefix("--config.").partition("=")[0] for a in argv if a.startswith("--config.")
        ):
            if name not in known:
                close = difflib.get_close_matches(name, known, 1, 0)[0]
                raise InputError(
                    f"'{path.config}' has no field '{name}'; did you mean --config.{close}?"
                )
    config_flags.DEFINE_config_file(
        "config",
        None,
        "Experiment file; --config.FIELD=VALUE changes a value.",
        flag_values=fv,
        sys_argv=list(argv),
    )


def _define_train(fv: flags.FlagValues, argv) -> None:
    _define_config(fv, argv)
    flags.DEFINE_string("workdir", None, "Folder of the run: made, or continued.", fv)
    flags.DEFINE_boolean(
        "distributed",
        False,
        "This process is one of several; JAX finds the others, see launch/.",
        flag_values=fv,
    )
    flags.DEFINE_string(
        "profile", "none", "Steps to trace for XProf, first:last; into WORKDIR/profile.", fv
    )


def _train(fv, _) -> None:
    from faceswap_jax.parallel import distributed
    from faceswap_jax.reporting.profile import Profile
    from faceswap_jax.train import train

    workdir = Path(fv.workdir)
    profile = None if fv.profile == "none" else Profile.parse(fv.profile, workdir / "profile")
    if fv.distributed:
        distributed.start()
    train(fv.config, workdir, profile)


def _define_compile(fv: flags.FlagValues, argv) -> None:
    _define_config(fv, argv)
    flags.DEFINE_integer(
        "devices", None, "How many CPU devices to simulate.", lower_bound=1, flag_values=fv
    )


def _compile(fv, _) -> None:
    from faceswap_jax.training.cost import compile_phases

    compile_phases(fv.config, fv.devices)


def _define_status(fv: flags.FlagValues, _argv) -> None:
    pass


def _status(fv, inputs) -> None:
    from faceswap_jax.reporting.status import status

    print(status(Path(inputs[0])))


def _define_swap(fv: flags.FlagValues, _argv) -> None:
    flags.DEFINE_string("workdir", None, "Folder of a trained run.", fv)
    flags.DEFINE_string("persona", None, "Whose face to give.", fv)
    flags.DEFINE_string("output", None, "Picture or clip (.mp4) to write.", fv)
    flags.DEFINE_string(
        "blend", "multiband", "How the face is blended in: multiband, poisson or none.", fv
    )
    flags.DEFINE_string(
        "step", "newest", "Which checkpoint of the run: the number of its steps, or newest.", fv
    )


def _swap(fv, inputs) -> None:
    from faceswap_jax.swap import swap

    if fv.step != "newest" and not fv.step.isdecimal():
        raise InputError(
            f"--step={fv.step} cannot be used; give the number of a checkpoint's steps, or newest."
        )
    step = None if fv.step == "newest" else int(fv.step)
    swap(Path(fv.workdir), fv.persona, Path(inputs[0]), Path(fv.output), fv.blend, step)


def _define_puppets(fv: flags.FlagValues, _argv) -> None:
    def number(name, default, meaning, low=1, high=None):
        flags.DEFINE_integer(
            name, default, meaning, lower_bound=low, upper_bound=high, flag_values=fv
        )

    flags.DEFINE_string("output", None, "Folder to make or to continue.", fv)
    number("personas", None, "How many puppets.", high=100_000)
    number(
        "tracks", None, "How many tracks of each: a clip, every one in another scene.", high=100_000
    )
    number("frames", None, "How many frames of each track.", high=100_000)
    flags.DEFINE_enum(
        "format",
        "clips",
        ["clips", "records"],
        "clips: .mp4 files with sound and landmarks, for `faceswap prepare`; records: a prepared data set.",
        flag_values=fv,
    )
    flags.DEFINE_integer("size", 256, "Side of the clips' frames in pixels, even.", flag_values=fv)
    flags.DEFINE_integer(
        "resolution", 128, "Side of the records' crops in pixels, a power of two.", flag_values=fv
    )
    flags.DEFINE_float("rate", 25.0, "Frames per second.", flag_values=fv)
    number("world_seed", 0, "Another world has other puppets.", low=0)
    number("first_persona", 0, "Number of the first puppet in the world.", low=0)
    number("first_track", 0, "Number of the first track.", low=0)
    number("processes", len(os.sched_getaffinity(0)), "How many clips are worked on at once.")


def _puppets(fv, _) -> None:
    from data_pipelines.puppets.dataset import PuppetClips, write_clips, write_records
    from data_pipelines.puppets.sheet import write_contact_sheet

    other = {"clips": "resolution", "records": "size"}[fv.format]
    if fv[other].present:
        raise InputError(f"--{other} says nothing about --format={fv.format}; leave it out.")
    output, world = Path(fv.output), fv.world_seed
    personas = range(fv.first_persona, fv.first_persona + fv.personas)
    tracks = range(fv.first_track, fv.first_track + fv.tracks)
    if fv.format == "records":
        write_records(
            output, world, personas, tracks, fv.frames, fv.rate, fv.resolution, fv.processes
        )
        return
    clips = PuppetClips.regular(world, personas, tracks, fv.frames, fv.size, fv.rate)
    write_clips(output, clips, fv.processes)
    print(
        f"{write_contact_sheet(output, clips)}: moments of all puppets, to look at", file=sys.stderr
    )


def _define_evaluate(fv: flags.FlagValues, _argv) -> None:
    flags.DEFINE_string(
        "workdir", None, "Folder of a trained run; the scores are written there.", fv
    )
    flags.DEFINE_string(
        "data",
        None,
        "Folder of clips: puppets, or a clip or a folder of clips for each person.",
        fv,
    )
    flags.DEFINE_list(
        "blend",
        "multiband",
        "How faces are blended in; several, separated by commas, are compared.",
        fv,
    )
    flags.DEFINE_string(
        "embedder",
        "dlib",
        "What compares identities in real clips: dlib; the folder of an 'identity' run; a file of "
        "InsightFace's weights, .onnx or .safetensors.",
        fv,
    )


def _evaluate(fv, _) -> None:
    from faceswap_jax.evaluation.bench import evaluate

    embedder = None if fv.embedder == "dlib" else Path(fv.embedder)
    evaluate(Path(fv.workdir), Path(fv.data), fv.blend, embedder)


def _define_sweep(fv: flags.FlagValues, _argv) -> None:
    flags.DEFINE_integer(
        "local",
        None,
        "How many trials to run on this machine, in all.",
        lower_bound=1,
        flag_values=fv,
    )
    flags.DEFINE_string(
        "output", None, "Folder to make or to continue, with a folder of each trial.", fv
    )
    flags.DEFINE_list(
        "devices",
        "all",
        "all: one trial after the other, which sees every device; GPUs' numbers, separated by "
        "commas: one trial on each at once.",
        fv,
    )


def _sweep(fv, inputs) -> int:
    from faceswap_jax.sweeps.trials import sweep

    devices = [None] if fv.devices == ["all"] else fv.devices
    return 0 if sweep(Path(inputs[0]), fv.local, Path(fv.output), devices, parse_train) else 1


def parse_train(arguments: Sequence[str]) -> None:
    """Reads the flags of `faceswap train`; raises InputError or flags.Error."""
    fv = flags.FlagValues()
    _define_train(fv, arguments)
    fv(["faceswap train", *arguments])


def _define_demo(fv: flags.FlagValues, _argv) -> None:
    flags.DEFINE_string("output", "build/demo", "Folder for all that the demo makes.", fv)


def _demo(fv, _) -> None:
    from faceswap_jax.demo import demo

    demo(Path(fv.output))


COMMANDS = {
    "prepare": Command(
        "INPUT... --output DIR",
        "Clips to aligned face tracks; run it again to continue.",
        _define_prepare,
        _prepare,
        (1, float("inf")),
    ),
    "verify": Command(
        "DIR [--repair]",
        "Check every record of prepared face tracks; repair what is broken.",
        _define_verify,
        _verify,
        (1, 1),
    ),
    "train": Command(
        "--config FILE --workdir DIR [--config.FIELD=VALUE ...]",
        "Train a model, or continue where it stopped.",
        _define_train,
        _train,
        (0, 0),
    ),
    "compile": Command(
        "--config FILE --devices N [--config.FIELD=VALUE ...]",
        "What a training step costs on N devices, by compiling it for simulated ones.",
        _define_compile,
        _compile,
        (0, 0),
    ),
    "status": Command(
        "WORKDIR",
        "Show how far a run is, its curves and the time left.",
        _define_status,
        _status,
        (1, 1),
    ),
    "swap": Command(
        "INPUT --workdir DIR --persona NAME --output OUTPUT",
        "Give a persona's face to a picture or a clip.",
        _define_swap,
        _swap,
        (1, 1),
    ),
    "puppets": Command(
        "--output DIR --personas N --tracks M --frames F",
        "Render clips or records of procedural people; run it again to continue.",
        _define_puppets,
        _puppets,
        (0, 0),
    ),
    "evaluate": Command(
        "--workdir DIR --data DIR [--blend METHOD,...] [--embedder PATH]",
        "Swap clips between all personas and score the results.",
        _define_evaluate,
        _evaluate,
        (0, 0),
    ),
    "sweep": Command(
        "FILE --local N --output DIR [--devices N,...]",
        "Search hyperparameters with trials of `train`; run it again to continue.",
        _define_sweep,
        _sweep,
        (1, 1),
    ),
    "demo": Command(
        "[--output DIR]",
        "Prepare, train, swap and score on rendered puppets, in minutes.",
        _define_demo,
        _demo,
        (0, 0),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns its exit code.

    0: done. 1: the training diverged, a verified data set is broken, or all trials of a sweep failed. 2: the input was
    at fault. 3: the processes of a job cannot go on together. 70: an error of this program. 130: Ctrl-C.
    """
    name, *arguments = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    if name in ("--help", "-h", "help"):
        print("usage: faceswap COMMAND ...\n")
        for known, command in COMMANDS.items():
            print(f"  {known:<10}{command.summary}")
        print("\n'faceswap COMMAND --help' explains the flags of one.")
        return 0
    # Loggers of the libraries below. Of absl's nothing: Orbax tells in pages what it raises as well.
    logging.set_verbosity(logging.FATAL)
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    compilation.use_cache()
    code = _guarded(name, arguments)
    if code and "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized():
        # JAX would wait for the other processes, which wait for this one.
        sys.stderr.flush()
        os._exit(code)
    return code


def _guarded(name: str, arguments: list[str]) -> int:
    """Runs a subcommand; what goes wrong becomes a message and an exit code."""
    try:
        if name not in COMMANDS:
            raise InputError(f"There is no command '{name}'; choose one of {', '.join(COMMANDS)}.")
        return _run(name, COMMANDS[name], arguments) or 0
    except (InputError, FloatingPointError, JobError) as error:
        print("faceswap:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2 if isinstance(error, InputError) else 3 if isinstance(error, JobError) else 1
    except KeyboardInterrupt:
        print("faceswap: interrupted.", file=sys.stderr)
        return 130
    except Exception:  # not Python's 1, so that a launcher may try again
        traceback.print_exc()
        return 70


def _run(name: str, command: Command, arguments: list[str]) -> int | None:
    fv = flags.FlagValues()
    flags.DEFINE_boolean("help", False, "Show this help.", short_name="h", flag_values=fv)
    wants_help = bool({"--help", "-h", "-help"} & set(arguments))
    try:
        command.define(fv, [] if wants_help else arguments)
        if wants_help:
            _print_help(name, command, fv)
            return None
        _, *positional = fv([f"faceswap {name}", *arguments])
    except flags.Error as error:
        raise InputError(f"{error}; 'faceswap {name} --help' explains the flags.") from error
    missing = [f"--{flag}" for flag in fv if fv[flag].value in (None, "", [])]
    if missing or not command.positional[0] <= len(positional) <= command.positional[1]:
        what = (
            f"{', '.join(missing)} must be given"
            if missing
            else f"the number of inputs is {len(positional)}"
        )
        raise InputError(f"{what}; usage: faceswap {name} {command.usage}")
    return command.run(fv, positional)


def _print_help(name: str, command: Command, fv: flags.FlagValues) -> None:
    print(f"usage: faceswap {name} {command.usage}\n\n{command.summary}\n")
    for flag in sorted(fv):
        if len(flag) > 1 and fv[flag].help:
            value = fv[flag].default_as_str
            default = "" if value in (None, "'false'") else f" (default: {value.strip(chr(39))})"
            print(f"  --{flag:<17}{fv[flag].help}{default}")


if __name__ == "__main__":
    sys.exit(main())
