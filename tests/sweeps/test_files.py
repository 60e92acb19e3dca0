"""Sweep files: what is refused, and what their command becomes."""

import subprocess
from pathlib import Path

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.sweeps.files import expand
from tests.support.sweeps import RATE, ROOT, load

FILES = sorted((ROOT / "experiments" / "sweeps").glob("*.yaml"))
FLAGS = ["--workdir=$WANDB_RUN_ID", "${args}"]


def searched(name: str, **parameter) -> dict:
    return {"parameters": {name: parameter}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_sweep_files_of_experiments_can_be_used(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert load(path).metric.startswith("eval/")
    assert "--config.run.wandb=" in path.read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "rnadom"}, "'rnadom'"),
        ({"method": "custom"}, "custom"),
        ({"method": "grid"}, "grid"),
        ({"parameters": None}, "parameters.* required"),
        (searched("config.learning_rate", min=2.0, max=1.0), "2.0 .*1.0"),
        (searched("config.learning_rate", min="1e-4", max=1.0), "1e-4 with a point"),
        (searched("config.learning_rat", **RATE), "'learning_rat'.* --config.learning_rate"),
        (searched("learning_rate", **RATE), "'learning_rate'.* config.learning_rate"),
        (
            searched("config", parameters={"model": {"parameters": {"width": {"value": 1}}}}),
            "'config' is nested; write its values side by side: config.model.width",
        ),
        (
            searched("config.model", parameters={"width": {"value": 1}}),
            "'config.model' is nested; .*: config.model.width",
        ),
        (searched("model", parameters={"width": {"value": 1}}), ": config.model.width"),
        (searched("workdir", value="w"), "'workdir'"),
        (searched("config.batch", **RATE), "invalid literal for int"),
        (searched("config.learning_rate", values=[0.1, "high"]), "config.learning_rate=high"),
        (searched("config.level_steps", values=["(0,"]), r"config.level_steps=\(0,"),
        ({"metric": None}, "no metric.*eval/psnr"),
        ({"metric": {"name": "eval/psnr", "goal": "most"}}, "'most'"),
        ({"metric": {"name": "eval/psnr", "target": 30}}, "leave out .*metric.target"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3}}, "leave out early_terminate"),
        ({"comand": []}, "'comand'"),
        ({"command": None}, r"write command: .*\$\{args\}"),
        (
            {"command": ["f", "--config=tiny.py", "--workdir=${envvar:WANDB_RUN_ID}", "${args}"]},
            "share a folder",
        ),
        ({"command": ["f", "--config=tiny.py", "--workdir=w", "${args}"]}, "share a folder"),
        (
            {"command": ["bash", "-c", "f --config tiny.py --workdir $WANDB_RUN_ID"]},
            "takes no parameters",
        ),
        ({"command": ["${args_json}", "--config=tiny.py", *FLAGS]}, r"\$\{args_json\}.*\$\{env\}"),
        ({"command": ["f", *FLAGS]}, "no --config"),
        ({"command": ["f", "--config=no.py", *FLAGS]}, "'no.py'"),
        (
            {"command": ["f", "--config=tiny.py", "--config.batc=8", *FLAGS]},
            "'batc'.* --config.batch",
        ),
        ({"command": ["bash", "-c", "f 'train $WANDB_RUN_ID", "${args}"]}, "quotation"),
    ],
)
def test_wrong_files_are_refused(write, changes, message):
    path = write(**changes)
    with pytest.raises(InputError, match=message) as error:
        load(path)
    assert "'s.yaml'" in str(error.value)
    assert ("with a point" in str(error.value)) == ("with a point" in message)


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "a: [", "a: b: c", "parameters: 3\nmethod: grid", "\0"]
)
def test_files_that_are_no_sweep_are_refused(write, text):
    path = write()
    path.write_text(text)
    with pytest.raises(InputError, match=r"'s.yaml' cannot be used"):
        load(path)
    with pytest.raises(InputError, match=r"no sweep file 'no.yaml'"):
        load(Path("no.yaml"))


def test_lists_are_values(write):
    load(write(**searched("config.level_steps", values=[[0, 4], "0,"])))


def test_flags_take_the_place_of_what_the_file_says(write):
    grid = {"config.batch": {"values": [8, 16]}, "config.seed": {"values": [1, 2]}}
    search = load(write(method="grid", parameters=grid), "--config.seed=5", "--config.task=other")
    assert list(search.config["parameters"]) == ["config.batch"]
    assert expand(search.config, {"config.batch": 8})[-3:] == [
        "--config.batch=8",
        "--config.seed=5",
        "--config.task=other",
    ]
    with pytest.raises(InputError, match=r"'s.yaml'.* nothing to search"):
        load(Path("s.yaml"), "--config.seed=5", "--config.batch=8")
    with pytest.raises(InputError, match=r"'sede'.* --config.seed"):
        load(Path("s.yaml"), "--config.sede=5")


def test_macros_are_replaced_as_by_the_agent_of_wandb(write, monkeypatch):
    """The same file works for both: a folder for each trial, the same flags."""
    from wandb import wandb_agent

    words = [
        "python -c 'import sys; print(sys.argv)' --config=tiny.py --workdir=${WANDB_RUN_ID}",
        "--x=${envvar:WHERE}",
        "--y=${envvar:NOWHERE}",
    ]
    config = {"command": ["${env}", "-S", *words, "${args}", "${program}"], "program": "p"}
    parameters = {"config.level_steps": [0, 4], "config.learning_rate": 0.5}
    monkeypatch.setenv("WHERE", "here")
    monkeypatch.setenv("WANDB_RUN_ID", "")  # the agent changes it
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", "")
    commands = []

    class Process:
        """Runs to its end at once."""

        def __init__(self, command, env, **_):
            commands.append(command)
            result = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            self.said = result.stdout

    monkeypatch.setattr(wandb_agent, "AgentProcess", Process)
    agent = wandb_agent.Agent.__new__(wandb_agent.Agent)
    vars(agent).update(_sweep_command=list(config["command"]), _function=None, _in_jupyter=False)
    vars(agent).update(_run_processes={}, _forward_signals=False)
    for run_id in ("abc", "xyz"):
        arguments = {name: {"value": value} for name, value in parameters.items()}
        agent._command_run({"run_id": run_id, "program": "p", "args": arguments})
        assert f"'--workdir={run_id}', '--x=here'" in agent._run_processes[run_id].said
    assert commands == [expand(config, parameters)] * 2
    assert commands[0][-4:] == [
        "--y=NOWHERE",
        "--config.level_steps=[0, 4]",
        "--config.learning_rate=0.5",
        "p",
    ]
