"""Sweep files in W&B's format: read, checked, drawn from."""

import itertools
import math
import os
import random
import re
import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ml_collections
import numpy as np
import yaml
from absl import flags

from faceswap_jax.errors import InputError

# They warn of a newer pydantic.
with warnings.catch_warnings(action="ignore"):
    import sweeps
    from sweeps.params import HyperParameter, HyperParameterSet

ReadConfig = Callable[[Sequence[str]], ml_collections.ConfigDict]
"""From the arguments of `faceswap train` to its config; raises InputError or flags.Error."""

FORM = "command: ['${env}', -S, 'faceswap train ... --workdir=runs/${WANDB_RUN_ID}', '${args}']"
PROBES = (0.1, 0.37, 0.9)
"""Where a range is tried out, as fractions of its distribution; odd enough to meet no whole number by chance."""


@dataclass(frozen=True)
class Search:
    """What a sweep file and the flags beside it say.

    Attributes:
        path: the file.
        config: its content, in W&B's format.
        arguments: the flags of `faceswap train` in its command, without a trial's own.
    """

    path: Path
    config: dict
    arguments: Sequence[str]

    @property
    def metric(self) -> str:
        """Name of what trials are ranked by."""
        return self.config["metric"]["name"]


@dataclass(frozen=True)
class Trial:
    """A training run of a sweep.

    Attributes:
        number: counted from 1.
        parameters: values by flag name.
        state: "running" until its outcome is known, then "finished" or "failed".
        code: exit code of its process; negative, the signal that killed it.
        step: steps done.
        metrics: the last value of everything in its metrics.jsonl.
    """

    number: int
    parameters: dict
    state: str = "running"
    code: int = 0
    step: int = 0
    metrics: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"trial_{self.number:03d}"


def load(path: Path, overrides: Sequence[str], read_config: ReadConfig) -> Search:
    """Reads and checks a sweep file.

    Args:
        path: the file.
        overrides: flags `--config.FIELD=VALUE` that take the place of the file's; such a field is not searched.
        read_config: shows that the file's command takes what is drawn.

    Raises:
        InputError: it is missing or wrong.
    """
    config = _read(path)
    _check_search(path, config)
    _check_command(path, config)
    # The last flag of a name counts.
    config["command"] = [*config["command"], *overrides]
    for override in overrides:
        config["parameters"].pop(override.removeprefix("--").partition("=")[0], None)
    if not config["parameters"]:
        raise wrong(path, "the flags leave nothing to search", "leave one of them out")

    # Try every value on the flags of `faceswap train`.
    try:
        arguments = _train_arguments(config)
        for parameter in HyperParameterSet.from_config(config["parameters"]):
            for value in _probes(parameter):
                read_config([*arguments, *as_flags({parameter.name: value})])
    except InputError as error:
        raise InputError(f"The sweep file '{path}': {error}") from error
    except (flags.Error, ValueError, TypeError) as error:
        raise wrong(path, error) from error
    return Search(path, config, arguments)


def count_of(search: Search, wanted: int | None) -> int:
    """How many trials to run: as many as wanted, else the file's run_cap, else all of a grid.

    Raises:
        InputError: nothing says how many.
    """
    count = search.config.get("run_cap") if wanted is None else wanted
    if search.config["method"] == "grid":
        parameters = HyperParameterSet.from_config(search.config["parameters"])
        size = math.prod(len(parameter.config.get("values", [None])) for parameter in parameters)
        return min(count or size, size)
    if count is None:
        raise InputError(
            f"'{search.path}' has no run_cap; say with --local how many trials to run."
        )
    return count


def wrong(path: Path, problem: object, remedy: str = "correct it") -> InputError:
    """The error to raise when a sweep file cannot be used."""
    text = str(problem).rstrip(".")
    return InputError(f"The sweep file '{path}' cannot be used: {text}; {remedy}.")


def draw(config: dict, trials: Sequence[Trial], number: int) -> dict | None:
    """Draws the parameters of a trial.

    Args:
        config: of a sweep file.
        trials: those that were drawn before.
        number: of the new trial; the draw depends on these three alone.

    Returns:
        Values in plain Python, by flag name; None when the grid is exhausted.
    """
    # The library draws from both.
    random.seed(number)
    np.random.seed(number)
    runs = []
    for trial in trials:
        values = {name: {"value": value} for name, value in trial.parameters.items()}
        metrics = trial.metrics if trial.state == "finished" else {}
        state = sweeps.RunState(trial.state)
        runs.append(sweeps.SweepRun(state=state, config=values, summary_metrics=metrics))
    # It warns of fits to few trials.
    with warnings.catch_warnings(action="ignore"):
        run = sweeps.next_run(config, runs)
    if run is None:
        return None
    return {name: _plain(value["value"]) for name, value in run.config.items()}


def expand(config: dict, parameters: dict) -> list[str]:
    """The command of a trial, its macros replaced as W&B's agent does."""
    macros = _macros(parameters, config.get("program", ""))
    words = []
    for word in config["command"]:
        word = re.sub(r"\$\{envvar:([A-Z0-9_]*)\}", _variable, str(word))
        words += macros.get(word, [word])
    return words


def as_flags(parameters: dict) -> list[str]:
    """Drawn parameters as flags of `faceswap train`."""
    return [f"--{name}={_plain(value)}" for name, value in parameters.items()]


def ranking(config: dict, trials: Sequence[Trial]) -> list[Trial]:
    """The trials, the best first, the failed last."""
    name = config["metric"]["name"]
    sign = -1 if config["metric"].get("goal") == "maximize" else 1
    finished = [trial for trial in trials if trial.state == "finished"]
    finished.sort(key=lambda trial: (sign * trial.metrics[name], trial.number))
    return finished + [trial for trial in trials if trial.state != "finished"]


def _read(path: Path) -> dict:
    """The file's content, of which something can be drawn."""
    try:
        config = yaml.safe_load(path.read_text())
        violations = sweeps.schema_violations_from_proposed_config(config)
        if not violations:
            draw(config, [], 1)
    except OSError as error:
        raise InputError(
            f"There is no sweep file '{path}'; give one, such as those in experiments/sweeps."
        ) from error
    except Exception as error:  # YAML's own, what the schema's checks meet, a grid of a range
        raise wrong(path, error) from error
    if violations:
        texts = list(_numbers_as_text(config))
        remedy = "correct it"
        if texts:
            remedy = f"write {texts[0]} with a point, as in 1.0e-4: without one it is text to YAML"
        raise wrong(path, "; ".join(violations), remedy)
    return config


def _numbers_as_text(tree: object) -> Iterator[str]:
    """Texts of a file that were meant to be numbers, such as 1e-4."""
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _numbers_as_text(value)
    elif isinstance(tree, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", tree):
        yield tree


def _check_search(path: Path, config: dict) -> None:
    """Checks the metric and the names of the parameters."""
    if "metric" not in config:
        example = "metric: {name: eval/psnr, goal: maximize}"
        raise wrong(path, "it has no metric", f"add one, such as {example}")
    if "early_terminate" in config or "target" in config["metric"]:
        raise wrong(
            path,
            "every trial runs to its end here",
            "leave out early_terminate and metric.target",
        )
    for name, parameter in config["parameters"].items():
        nested = _names(name, parameter)
        if nested != [name]:
            names = ", ".join(f"config.{full.removeprefix('config.')}" for full in nested)
            raise wrong(path, f"'{name}' is nested", f"write its values side by side: {names}")
        if not name.startswith("config."):
            raise wrong(path, f"'{name}' is no value of an experiment", f"write config.{name}")


def _names(name: str, parameter: object) -> list[str]:
    """The full names of all values of a parameter, which W&B lets one nest."""
    if not isinstance(parameter, dict) or "parameters" not in parameter:
        return [name]
    inner = parameter["parameters"].items()
    return [full for key, value in inner for full in _names(f"{name}.{key}", value)]


def _check_command(path: Path, config: dict) -> None:
    """Checks that W&B's agent and `expand` can make a command for every trial."""
    words = [str(word) for word in config.get("command", ())]
    text = " ".join(words)
    if "${args}" not in words:
        raise wrong(path, "its command takes no parameters", f"write {FORM}")
    # W&B's agent replaces ${envvar:...} once and for all, before the first trial has an id.
    if "WANDB_RUN_ID" not in text or "${envvar:WANDB_RUN_ID}" in text:
        problem = "its command has no ${WANDB_RUN_ID}: W&B's trials would share a folder"
        raise wrong(path, problem, f"write {FORM}")
    known = _macros({}, "")
    for word in words:
        if re.fullmatch(r"\$\{\w+\}", word) and word not in known:
            raise wrong(
                path,
                f"its command has {word}",
                f"of W&B's macros only {', '.join(known)} are known here",
            )


def _train_arguments(config: dict) -> list[str]:
    """The flags in the command, which stand by themselves, or in a text for `env -S` or `bash -c`.

    Raises:
        ValueError: the text has an open quotation, or there is no --config.
    """
    words = []
    for word in expand(config, {}):
        words += [word] if _is_flag(word) else shlex.split(word)
    arguments = list(itertools.dropwhile(lambda word: not _is_flag(word), words))
    if not any(re.match("--config(=|$)", word) for word in arguments):
        raise ValueError("its command has no --config")
    return arguments


def _is_flag(word: str) -> bool:
    return word.startswith("--")


def _probes(parameter: HyperParameter) -> list:
    """Values to try out: all that there are, or some of a range."""
    values = parameter.config.get("values")
    return values or [parameter.ppf(fraction) for fraction in PROBES]


def _variable(match: re.Match) -> str:
    return os.environ.get(match[1], match[1])


def _macros(parameters: dict, program: str) -> dict[str, list[str]]:
    return {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": ["python"],
        "${program}": [program],
        "${args}": as_flags(parameters),
    }


def _plain(value: object) -> object:
    """A value of NumPy as one of Python."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
