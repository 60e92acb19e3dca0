"""Sweep files in W&B's format: read, checked, drawn from."""

import itertools
import os
import random
import re
import shlex
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from absl import flags

from faceswap_jax.errors import InputError

with warnings.catch_warnings(action="ignore"):  # of a newer pydantic
    import sweeps
    from sweeps.params import HyperParameterSet


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


def load(path: Path, parse: Callable[[Sequence[str]], None]) -> dict:
    """The values of a sweep file that can be drawn from, and whose command takes what is drawn, as `parse` says.

    Raises:
        InputError: it is missing or wrong.
    """

    def wrong(why: object, remedy: str = "correct it") -> InputError:
        return InputError(
            f"The sweep file '{path}' cannot be used: {str(why).rstrip('.')}; {remedy}."
        )

    try:
        config = yaml.safe_load(path.read_text())
        violations = sweeps.schema_violations_from_proposed_config(config)
        if not violations:
            draw(config, [], 1)
    except OSError as error:
        raise InputError(
            f"There is no sweep file '{path}'; give one, such as those in experiments/sweeps."
        ) from error
    except (
        Exception
    ) as error:  # YAML's own, what the schema's checks meet, a grid of what is continuous
        raise wrong(error) from error
    if violations:
        raise wrong("; ".join(violations), "correct it (1e-4 is text to YAML, 1.0e-4 is a number)")
    if "metric" not in config:
        raise wrong(
            "it has no metric", "add one, such as metric: {name: eval/psnr, goal: maximize}"
        )
    if "early_terminate" in config or "target" in config["metric"]:
        raise wrong(
            "every trial runs to its end here", "leave out early_terminate and metric.target"
        )
    words = [str(word) for word in config.get("command", ())]
    text, macros = " ".join(words), _macros({}, "")
    if "${args}" not in words or "WANDB_RUN_ID" not in text or "${envvar:WANDB_RUN_ID}" in text:
        # W&B's agent replaces ${envvar:...} once and for all, before the first trial has an id.
        form = "command: ['${env}', -S, 'faceswap train ... --workdir=runs/${WANDB_RUN_ID}', '${args}']"
        raise wrong(
            "its command takes no parameters, or W&B's trials would share a folder", f"write {form}"
        )
    for word in words:
        if re.fullmatch(r"\$\{\w+\}", word) and word not in macros:
            raise wrong(
                f"its command has {word}",
                f"of W&B's macros only {', '.join(macros)} are known here",
            )
    for name in config["parameters"]:
        if not name.startswith("config."):
            raise wrong(f"'{name}' is no value of an experiment", f"write config.{name}")
    try:
        # The command's flags stand by themselves, or in a text for `env -S` or `bash -c`.
        words = [
            w
            for word in expand(config, {})
            for w in ([word] if word[:2] == "--" else shlex.split(word))
        ]
        arguments = list(itertools.dropwhile(lambda word: word[:2] != "--", words))
        if not any(re.match("--config(=|$)", word) for word in arguments):
            raise ValueError("its command has no --config")
        parse(arguments)
        for parameter in HyperParameterSet.from_config(config["parameters"]):
            for value in parameter.config.get("values") or [
                parameter.ppf(share) for share in (0.1, 0.37, 0.9)
            ]:
                parse([*arguments, f"--{parameter.name}={_plain(value)}"])
    except InputError as error:
        raise InputError(f"The sweep file '{path}': {error}") from error
    except (flags.Error, ValueError, TypeError) as error:
        raise wrong(error) from error
    return config


def draw(config: dict, trials: Sequence[Trial], number: int) -> dict | None:
    """The parameters of trial `number`, given others, in plain Python; None when the grid is exhausted.

    Depends on the arguments alone.
    """
    random.seed(number)
    np.random.seed(number)
    runs = [
        sweeps.SweepRun(
            state=sweeps.RunState(trial.state),
            config={name: {"value": value} for name, value in trial.parameters.items()},
            summary_metrics=trial.metrics if trial.state == "finished" else {},
        )
        for trial in trials
    ]
    with warnings.catch_warnings(action="ignore"):  # fits to few trials
        run = sweeps.next_run(config, runs)
    return (
        None
        if run is None
        else {name: _plain(value["value"]) for name, value in run.config.items()}
    )


def expand(config: dict, parameters: dict) -> list[str]:
    """The command of a trial, its macros replaced as W&B's agent does."""
    macros, words = _macros(parameters, config.get("program", "")), []
    for word in map(str, config["command"]):
        word = re.sub(
            r"\$\{envvar:([A-Z0-9_]*)\}", lambda match: os.environ.get(match[1], match[1]), word
        )
        words += macros.get(word, [word])
    return words


def ranking(config: dict, trials: Sequence[Trial]) -> list[Trial]:
    """The trials, the best first, the failed last."""
    name, sign = config["metric"]["name"], -1 if config["metric"].get("goal") == "maximize" else 1
    done = sorted(
        (t for t in trials if t.state == "finished"),
        key=lambda t: (sign * t.metrics[name], t.number),
    )
    return done + [t for t in trials if t.state != "finished"]


def _macros(parameters: dict, program: str) -> dict[str, list[str]]:
    given = [f"--{name}={value}" for name, value in parameters.items()]
    return {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": ["python"],
        "${program}": [program],
        "${args}": given,
    }


def _plain(value: object) -> object:
    """A value of NumPy as one of Python."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
