"""Sweeps: what is drawn, what is refused, what a kill leaves, how trials are ranked."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
import yaml

from faceswap_jax.cli import main
from faceswap_jax.commands.training import read_train_config
from faceswap_jax.errors import InputError
from faceswap_jax.sweeps import files
from faceswap_jax.sweeps import trials as running
from faceswap_jax.sweeps.files import Trial, draw, expand, ranking
from faceswap_jax.sweeps.trials import sweep as run_sweep

# A trial that takes no time: four steps whose score is best at a learning rate of 1e-3. Seed 7 fails, seed 2 is wrong
# input. While there is a file "wait", it stays at step 2, as one that trains does until a signal comes.
FAKE = """
import json, os, signal, sys, time
from pathlib import Path
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
workdir, rate = Path(flags["workdir"]), float(flags.get("config.learning_rate", 1e-3))
caught = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: caught.append(number))
if flags.get("config.seed") == "2":
    print("faceswap: The seed is 2.", file=sys.stderr)
    sys.exit(2)
workdir.mkdir(exist_ok=True)
rows = workdir / "metrics.jsonl"
print("began after", done := min(4, len(rows.read_text().splitlines()) if rows.exists() else 0), flush=True)
(workdir / "device").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
(workdir / "id").write_text(os.environ["WANDB_RUN_ID"])
state = "finished"
for step in range(done + 1, 5):
    with rows.open("a") as file:
        print(json.dumps({"step": step, "phase": "only", "loss": 4.0 - step}), file=file)
    while step == 2 and Path("wait").exists() and not caught:
        time.sleep(0.01)
    if caught:
        state = "interrupted"
        break
    if flags.get("config.seed") == "7":
        sys.exit("it broke")
else:
    with rows.open("a") as file:
        print(json.dumps({"step": 4, "eval/psnr": -round(abs(rate - 1e-3) * 1e3, 6)}), file=file)
time.sleep(0.1 * bool(caught))
(workdir / "caught").write_text(str(len(caught)))
(workdir / "progress.json").write_text(json.dumps({"state": state}))
"""
EXPERIMENT = (
    "from tests.support import tiny_run\n\ndef get_config():\n    return tiny_run.experiment()\n"
)
FILES = sorted((Path(__file__).parents[2] / "experiments" / "sweeps").glob("*.yaml"))
RATE = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}


def load(path: Path) -> dict:
    return files.load(path, read_train_config)


def sweep(path: Path, count: int, output: Path) -> bool:
    return run_sweep(path, count, output, [None], read_train_config)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a sweep file of fake trials into the current folder, an empty one, and returns its path."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(EXPERIMENT)
    Path("fake.py").write_text(FAKE)

    def write(name="s.yaml", **changes) -> Path:
        config = {
            "command": [
                "${env}",
                "-S",
                "python fake.py --config=tiny.py --workdir=w/${WANDB_RUN_ID}",
                "${args}",
            ],
            "method": "random",
            "metric": {"name": "eval/psnr", "goal": "maximize"},
            "parameters": {"config.learning_rate": RATE},
        } | changes
        Path(name).write_text(
            yaml.safe_dump({key: value for key, value in config.items() if value is not None})
        )
        return Path(name)

    return write


def started(path: Path, count: int, output: str, *more: str) -> subprocess.Popen:
    """The command in a process group of its own."""
    words = [
        sys.executable,
        "-m",
        "faceswap_jax.cli",
        "sweep",
        path,
        "--local",
        str(count),
        "--output",
        output,
        *more,
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, process_group=0
    )


def wait_for(path: Path, text: str = "", process: subprocess.Popen | None = None) -> None:
    """Waits until a file has the text, while the process lives."""
    deadline = time.monotonic() + 60
    while not (path.exists() and text in path.read_text()):
        assert process is None or process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def table(output: str) -> list[dict]:
    with Path(output, "ranking.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_grid_is_drawn_completely_and_once():
    values = {"config.batch": [8, 16], "config.level_steps": [[0, 4], [0, 8], "(4,)"]}
    config = {"method": "grid", "parameters": {name: {"values": v} for name, v in values.items()}}
    trials = []
    while (parameters := draw(config, trials, len(trials) + 1)) is not None:
        trials.append(json.loads(json.dumps(Trial(len(trials) + 1, parameters).__dict__)))
        trials[-1] = Trial(**trials[-1])
    drawn = [tuple(trial.parameters[name] for name in values) for trial in trials]
    assert sorted(map(str, drawn)) == sorted(map(str, product(*values.values())))


def test_random_draws_are_plain_numbers_in_range_and_the_same_every_time():
    parameters = {
        "config.learning_rate": RATE,
        "config.batch": {"min": 1, "max": 9},
        "config.seed": {"value": 3},
    }
    config = {"method": "random", "parameters": parameters}
    drawn = [draw(config, [], number) for number in range(1, 30)]
    assert drawn == [draw(config, [], number) for number in range(1, 30)]
    assert all(
        [type(v) for v in d.values()] == [int, float, int] and d["config.seed"] == 3 for d in drawn
    )
    rates = [d["config.learning_rate"] for d in drawn]
    assert len(set(rates)) == 29 and 1e-4 <= min(rates) < 3e-4 and 3e-3 < max(rates) <= 1e-2
    assert {d["config.batch"] for d in drawn} == set(range(1, 10))


def test_bayes_learns_from_outcomes_and_shuns_failures():
    config = {
        "method": "bayes",
        "metric": {"name": "loss"},
        "parameters": {"config.learning_rate": RATE},
    }

    trials = []
    for number in range(1, 15):
        parameters = draw(config, trials, number)
        distance = abs(math.log10(parameters["config.learning_rate"]) + 2.5)
        state = "failed" if distance > 1 else "finished"
        trials.append(Trial(number, parameters, state, metrics={"loss": distance}))
    assert draw(config, trials[:-1], 14) == trials[-1].parameters
    assert sorted(trial.metrics["loss"] for trial in trials[6:])[4] < 0.25  # of random draws: 0.5
    assert type(trials[-1].parameters["config.learning_rate"]) is float


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_sweep_files_of_experiments_can_be_used(path, monkeypatch):
    monkeypatch.chdir(path.parents[2])
    assert load(path)["metric"]["name"].startswith("eval/")
    assert "--config.run.wandb=" in path.read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "rnadom"}, "'rnadom' is not one of"),
        ({"method": "custom"}, "Invalid search type custom"),
        ({"method": "grid"}, "disallowed type with grid search"),
        ({"parameters": None}, "`parameters` is required"),
        (
            {"parameters": {"config.learning_rate": {"min": 2.0, "max": 1.0}}},
            "min 2.0 is not less than max 1.0",
        ),
        (
            {"parameters": {"config.learning_rate": {"min": "1e-4", "max": 1.0}}},
            "1e-4 is text to YAML, 1.0e-4 is",
        ),
        (
            {"parameters": {"config.learning_rat": RATE}},
            "The sweep file 's.yaml': 'tiny.py' has no field "
            "'learning_rat'; did you mean --config.learning_rate?",
        ),
        (
            {"parameters": {"learning_rate": RATE}},
            "'learning_rate' is no value of an experiment; write config.learning_rate",
        ),
        (
            {"parameters": {"config": {"parameters": {"batch": {"value": 1}}}}},
            "'config' is no value of an experiment",
        ),
        ({"parameters": {"workdir": {"value": "w"}}}, "'workdir' is no value of an experiment"),
        ({"parameters": {"config.batch": RATE}}, "invalid literal for int"),
        (
            {"parameters": {"config.learning_rate": {"values": [0.1, "high"]}}},
            "--config.learning_rate=high: could",
        ),
        ({"parameters": {"config.level_steps": {"values": [[0, 4], "0,"]}}}, None),
        ({"parameters": {"config.level_steps": {"values": ["(0,"]}}}, "config.level_steps=(0,"),
        (
            {"metric": None},
            "it has no metric; add one, such as metric: {name: eval/psnr, goal: maximize}",
        ),
        ({"metric": {"name": "eval/psnr", "goal": "most"}}, "'most' is not one of"),
        (
            {"metric": {"name": "eval/psnr", "target": 30}},
            "leave out early_terminate and metric.target",
        ),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 3}},
            "every trial runs to its end here",
        ),
        ({"comand": []}, "'comand' was unexpected"),
        ({"command": None}, "write command: ['${env}', -S, 'faceswap train ..."),
        (
            {
                "command": [
                    "faceswap",
                    "train",
                    "--config=tiny.py",
                    "--workdir=${envvar:WANDB_RUN_ID}",
                    "${args}",
                ]
            },
            "W&B's trials would share a folder",
        ),
        (
            {"command": ["bash", "-c", "faceswap train --config tiny.py --workdir $WANDB_RUN_ID"]},
            "takes no parameters",
        ),
        (
            {
                "command": [
                    "${args_json}",
                    "--config=tiny.py",
                    "--workdir=${WANDB_RUN_ID}",
                    "${args}",
                ]
            },
            "its command has ${args_json}; of W&B's macros only ${env}, ${interpreter}, ${program}, ${args} are known",
        ),
        (
            {"command": ["faceswap", "--workdir=${WANDB_RUN_ID}", "${args}"]},
            "cannot be used: its command has no --config; correct it",
        ),
        (
            {"command": ["faceswap", "--config=no.py", "--workdir=${WANDB_RUN_ID}", "${args}"]},
            "config file 'no.py'",
        ),
        (
            {
                "command": [
                    "faceswap",
                    "--config=tiny.py",
                    "--config.batc=8",
                    "--workdir=${WANDB_RUN_ID}",
                    "${args}",
                ]
            },
            "'tiny.py' has no field 'batc'; did you mean --config.batch?",
        ),
        (
            {"command": ["bash", "-c", "faceswap 'train --workdir=$WANDB_RUN_ID", "${args}"]},
            "No closing quotation",
        ),
    ],
)
def test_wrong_files_are_refused_before_the_first_trial(write, changes, message):
    path = write(**changes)
    before = sorted(Path().iterdir())
    if message is None:
        load(path)
        return
    with pytest.raises(InputError) as error:
        sweep(path, 3, Path("out"))
    assert message in str(error.value) and "'" in str(error.value)
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "a: [", "a: b: c", "parameters: 3\nmethod: grid", "\0"]
)
def test_files_that_are_no_sweep_are_refused(write, text):
    path = write()
    path.write_text(text)
    with pytest.raises(InputError, match=r"The sweep file 's.yaml' cannot be used: "):
        load(path)
    with pytest.raises(InputError, match=r"There is no sweep file 'no.yaml'; give one"):
        load(Path("no.yaml"))


def test_macros_are_replaced_as_by_the_agent_of_wandb(write, monkeypatch):
    """The same file works for both: a folder for each trial, the same flags."""
    from wandb import wandb_agent

    monkeypatch.setenv("WHERE", "here")
    words = [
        "python -c 'import sys; print(sys.argv)' --config=tiny.py --workdir=${WANDB_RUN_ID}",
        "--x=${envvar:WHERE}",
    ]
    config = load(write(command=["${env}", "-S", words[0], "${args}"]))
    config |= {
        "command": ["${env}", "-S", *words, "--y=${envvar:NOWHERE}", "${args}", "${program}"],
        "program": "p",
    }
    parameters = {"config.level_steps": [0, 4], "config.learning_rate": 0.5}
    commands = []
    monkeypatch.setattr(
        wandb_agent, "AgentProcess", lambda command, env, **_: Process(command, env)
    )

    class Process:
        def __init__(self, command, env):
            commands.append(command)
            self.said = subprocess.run(
                command, env=env, capture_output=True, text=True, check=True
            ).stdout

    agent = wandb_agent.Agent.__new__(wandb_agent.Agent)
    vars(agent).update(
        _sweep_command=list(config["command"]), _function=None, _in_jupyter=False, _run_processes={}
    )
    vars(agent).update(_forward_signals=False)
    monkeypatch.setenv("WANDB_RUN_ID", "")  # the agent changes it
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", "")
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


def test_trials_run_and_are_ranked(write, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = write(
        method="grid",
        parameters={
            "config.learning_rate": {"values": [1e-2, 1e-3, 2e-3]},
            "config.seed": {"values": [0, 7]},
        },
    )
    assert sweep(path, 5, Path("out"))
    out, err = capfd.readouterr()
    names = ("rank", "trial", "config.learning_rate", "config.seed", "steps", "state", "eval/psnr")
    rows = [tuple(row[name] for name in names) for row in table("out")]
    assert rows == [
        ("1", "trial_003", "0.001", "0", "4", "finished", "-0.0"),
        ("2", "trial_005", "0.002", "0", "4", "finished", "-1.0"),
        ("3", "trial_001", "0.01", "0", "4", "finished", "-9.0"),
        ("", "trial_002", "0.01", "7", "1", "failed (1)", ""),
        ("", "trial_004", "0.001", "7", "1", "failed (1)", ""),
    ]
    shown = [line.split() for line in out.splitlines() if "trial_" in line]
    assert [row[:4] for row in shown[:3]] == [
        ["1", "trial_003", "-0", "0.001"],
        ["2", "trial_005", "-1", "0.002"],
        ["3", "trial_001", "-9", "0.01"],
    ]
    assert "trial 1 of 5: config.learning_rate=0.01 config.seed=0\n" in err
    assert "trial 1 of 5: finished after 4 steps: eval/psnr -9\n" in err
    assert "trial 2 of 5: failed (1) after 1 steps: it broke\n" in err
    assert (Path("out/trial_001/id").read_text(), Path("out/trial_001/device").read_text()) == (
        "out_trial_001",
        "none",
    )
    before = Path("out/trials.jsonl").read_bytes()
    assert sweep(path, 5, Path("out"))  # nothing is left to do
    assert Path("out/trials.jsonl").read_bytes() == before and capfd.readouterr().out == out
    assert sweep(path, 9, Path("out"))  # six is all that the grid has
    assert len(table("out")) == 6
    write(method="grid", parameters={"config.seed": {"values": [7]}})
    assert not sweep(path, 9, Path("failed"))


def test_a_run_cap_is_an_upper_limit(write):
    assert sweep(write(run_cap=2), 5, Path("out")) and len(table("out")) == 2


def test_the_least_is_the_best_unless_the_goal_says_otherwise():
    trials = [
        Trial(n, {}, "finished", metrics={"loss": loss})
        for n, loss in enumerate((2.0, 1.0, 3.0, 1.0), 1)
    ]
    trials.append(Trial(5, {}, "failed", code=-9, metrics={"loss": 0.0}))
    assert [t.number for t in ranking({"metric": {"name": "loss"}}, trials)] == [2, 4, 1, 3, 5]
    assert [
        t.number for t in ranking({"metric": {"name": "loss", "goal": "maximize"}}, trials)
    ] == [3, 1, 2, 4, 5]


def test_wrong_input_of_the_first_trial_ends_the_sweep(write, capfd):
    path = write(method="grid", parameters={"config.seed": {"values": [2, 0, 1]}})
    for _ in range(2):
        with pytest.raises(InputError, match=r"The first trial of 's.yaml' failed: The seed is 2."):
            sweep(path, 3, Path("out"))
    write(
        method="grid", parameters={"config.seed": {"values": [0, 2, 1]}}
    )  # no outcome is lost by another search
    assert sweep(path, 3, Path("out"))
    assert [row["state"] for row in table("out")] == ["finished", "finished", "failed (2)"]
    write(command=["faceswp", "--config=tiny.py", "--workdir=$WANDB_RUN_ID", "${args}"])
    with pytest.raises(
        InputError, match=r"'faceswp', cannot be started \(No such file or directory\)"
    ):
        sweep(path, 3, Path("new"))
    write(command=["${env}", "faceswp", "--config=tiny.py", "--workdir=$WANDB_RUN_ID", "${args}"])
    with pytest.raises(InputError, match=r"failed: .*No such file or directory"):
        sweep(path, 3, Path("new"))


def test_a_metric_that_trials_lack_is_told_after_the_first(write):
    path = write(metric={"name": "eval/pnsr", "goal": "maximize"})
    for _ in range(2):
        message = (
            r"Trials of 's.yaml' report no 'eval/pnsr'; let metric.name be one of eval/psnr, loss\."
        )
        with pytest.raises(InputError, match=message):
            sweep(path, 2, Path("out"))
    write(metric={"name": "loss"})
    assert sweep(path, 2, Path("out"))
    assert [row["loss"] for row in table("out")] == ["0.0", "0.0"]
    assert Path("out/trial_001.log").read_text() == "began after 0\n"  # the first one was kept


def test_folders_of_others_are_left_alone(write):
    path = write()
    with pytest.raises(
        InputError, match=r"'\.' exists and is not the folder of a sweep; choose a new --output"
    ):
        sweep(path, 1, Path("."))
    with pytest.raises(InputError, match=r"'s\.yaml' exists and is not"):
        sweep(path, 1, path)
    with pytest.raises(InputError, match="cannot be written"):
        sweep(path, 1, path / "out")
    assert sweep(path, 1, Path("out"))
    write(parameters={"config.learning_rate": RATE | {"max": 0.1}})
    with pytest.raises(
        InputError, match=r"'out/trials.jsonl' has trials of another search \(parameters\); choose"
    ):
        sweep(path, 2, Path("out"))
    Path("out/trials.jsonl").write_text('{"a": 1}\nno\n')
    with pytest.raises(
        InputError, match=r"'out/trials.jsonl' is damaged \(.*\); choose a new --output"
    ):
        sweep(path, 2, Path("out"))


def test_one_trial_on_each_device_at_once(write):
    path = write(method="grid", parameters={"config.seed": {"values": [0, 1, 3, 4]}})
    Path("wait").touch()
    process = started(path, 4, "out", "--devices", "0,3")
    for number in (1, 2):
        wait_for(Path(f"out/trial_00{number}/metrics.jsonl"), '"step": 2', process)
    assert not Path("out/trial_003").exists()
    Path("wait").unlink()
    process.communicate()
    assert process.returncode == 0
    devices = [Path(f"out/trial_00{number}/device").read_text() for number in (1, 2, 3, 4)]
    assert devices[:2] == ["0", "3"] and sorted(devices[2:]) in (["0", "3"], ["0", "0"], ["3", "3"])


def test_a_killed_sweep_goes_on_to_the_same_ranking(write):
    """By Bayes' method, whose draws depend on all that came before."""
    path = write(method="bayes")
    assert sweep(path, 5, Path("whole"))
    for count in (0, 2):
        assert count == 0 or sweep(path, count, Path("out"))
        Path("wait").touch()
        process = started(path, 5, "out")
        wait_for(Path(f"out/trial_00{count + 1}/metrics.jsonl"), '"step": 2')
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        Path("wait").unlink()
    with Path("out/trials.jsonl").open("a") as file:
        file.write('{"number": 4, "par')  # a line that was being written
    assert sweep(path, 5, Path("out"))
    assert Path("out/ranking.csv").read_text() == Path("whole/ranking.csv").read_text()
    assert Path("out/trial_003.log").read_text() == "began after 0\nbegan after 2\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_sweep_stops_its_trials_gently_and_goes_on(write, number):
    """Ctrl-C comes from a terminal, to the trials too, which must not take it for a second one."""
    path = write()
    Path("wait").touch()
    process = started(path, 3, "out", "--devices", "0,1")
    for trial in ("trial_001", "trial_002"):
        wait_for(Path(f"out/{trial}/metrics.jsonl"), '"step": 2', process)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, out) == (0, b"")
    assert err.decode().endswith("Stopped; 0 of 3 trials are done. The same command continues.\n")
    Path("wait").unlink()
    for trial in ("trial_001", "trial_002"):
        assert Path(f"out/{trial}/caught").read_text() == "1"
    assert sweep(path, 3, Path("out"))
    assert [Path(f"out/trial_00{n}.log").read_text().count("began") for n in (1, 2, 3)] == [2, 2, 1]
    assert Path("out/trial_001.log").read_text() == "began after 0\nbegan after 2\n"


def test_who_stops_a_trial_stops_the_sweep(write):
    path = write()
    Path("wait").touch()
    process = started(path, 2, "out")
    wait_for(Path("out/trial_001/metrics.jsonl"), '"step": 2')
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    assert b"Stopped; 0 of 2" in process.communicate()[1] and process.returncode == 0


def test_no_two_write_to_a_folder(write, monkeypatch):
    """Neither a second sweep nor one whose predecessor was killed without its trial."""
    path = write()
    Path("wait").touch()
    process = started(path, 2, "out")
    wait_for(Path("out/trial_001/metrics.jsonl"), '"step": 2')
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    monkeypatch.setattr(running, "PATIENCE", 0)
    for _ in range(2):
        with pytest.raises(
            InputError,
            match="In 'out' another sweep is at work, or a trial that outlived its own; wait",
        ):
            sweep(path, 2, Path("out"))
        process.kill()
        process.wait()
    assert Path(f"/proc/{children[0]}").exists()
    process.communicate()
    Path("wait").unlink()
    wait_for(Path("out/trial_001/progress.json"))
    monkeypatch.setattr(running, "PATIENCE", 5)
    assert sweep(path, 2, Path("out"))
    assert Path("out/trial_001.log").read_text() == "began after 0\nbegan after 4\n"


@pytest.mark.slow
def test_a_sweep_of_real_trainings(write, data, tmp_path, monkeypatch, capfd):
    """Killed, continued and ranked, as by the command line."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "xla"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    train = f"faceswap train --config=tiny.py --config.data.path={data} --config.mesh.cpu_devices=1 --config.batch=2"
    train += " --config.level_steps=0,0,8 --config.run.wandb=project"
    path = write(
        command=["${env}", "-S", f"{train} --workdir=w/${{WANDB_RUN_ID}}", "${args}"],
        method="grid",
        parameters={"config.seed": {"values": [0, 1]}},  # the second trial has nothing to compile
    )
    process = started(path, 2, "out")
    wait_for(Path("out/trial_001/metrics.jsonl"), '"step": 4', process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert main(["sweep", str(path), "--local=2", "--output=out"]) == 0
    assert sorted((row["trial"], row["steps"], row["state"]) for row in table("out")) == [
        ("trial_001", "8", "finished"),
        ("trial_002", "8", "finished"),
    ]
    scores = [float(row["eval/psnr"]) for row in table("out")]
    assert scores == sorted(scores, reverse=True) and 0 < scores[1] < scores[0]
    assert "trial 1 of 2: config.seed=0" in capfd.readouterr().err
