"""The training loop: on the comb network, and on a toy adversarial system that it has never heard of."""

import itertools
import json
import math
import re
import shutil
import signal
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import cv2
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import wandb

from data_pipelines.batches import pipeline
from data_pipelines.records import MANIFEST
from experiments import comb as comb_experiment
from faceswap_jax import config as configs
from faceswap_jax import train as loop
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.errors import DivergedError, InputError
from faceswap_jax.files import locked
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.reporting import board, progress
from faceswap_jax.reporting.goodput import PARTS, Clock
from faceswap_jax.reporting.profile import Profile
from faceswap_jax.reporting.reporter import Reporter
from faceswap_jax.tasks.registry import load_task
from faceswap_jax.train import train
from faceswap_jax.training import interruption
from faceswap_jax.training import programs as program
from tests.support import offline_board
from tests.support import toy as toy_module
from tests.support.tiny_run import PERSONAS, experiment, rows


@pytest.fixture
def toy() -> ml_collections.ConfigDict:
    """The config of the toy, to change."""
    return toy_module.config()


def saved_state(workdir, task=None, persona=1):
    """The newest step and state of a run."""
    config = configs.load(workdir / "config.json")
    task, mesh = task or load_task(config), make_mesh(persona)
    with Checkpoints(workdir, config) as checkpoints:
        return loop.restore_or_init(task, mesh, checkpoints, config.seed, Clock())


def assert_equal(a, b, atol=0.0):
    """Two states agree, exactly or nearly."""
    a, b = (replace(s, key=jax.random.key_data(s.key)) for s in (a, b))
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=0, atol=atol), a, b)


def at_step(monkeypatch, step, action):
    """Calls `action` in the middle of a step, once."""
    original, done = Reporter.train, []

    def wrapped(self, now, *rest):
        original(self, now, *rest)
        if now == step and not done:
            done.append(True)
            action()

    monkeypatch.setattr(Reporter, "train", wrapped)


def test_a_run_writes_config_metrics_previews_and_checkpoints(run, data):
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints",
        "config.json",
        "goodput.jsonl",
        "metrics.jsonl",
        "previews",
        "progress.json",
    ]
    config = json.loads((run / "config.json").read_text())
    assert config["personas"] == list(PERSONAS) and config["data"]["path"] == str(data)

    training = rows(run)
    assert [(row["step"], row["phase"]) for row in training] == [
        (2, "level 1, 8 px"),
        (4, "level 1, 8 px"),
        (6, "level 2, 16 px"),
        (8, "level 2, 16 px"),
    ]
    names = {"step", "phase", "loss", "alpha", "learning_rate", "term/reconstruction"}
    assert all(row.keys() == names | {f"loss/{name}" for name in PERSONAS} for row in training)
    np.testing.assert_allclose(
        [row["loss"] for row in training],
        [np.mean([row[f"loss/{name}"] for name in PERSONAS]) for row in training],
        rtol=1e-5,
    )
    scores = rows(run, evaluation=True)
    assert [row["step"] for row in scores] == [4, 8]
    assert all(row.keys() == {"step", "eval/psnr", "eval/dissimilarity"} for row in scores)
    assert all(
        math.isfinite(v)
        for row in (*training, *scores)
        for v in row.values()
        if not isinstance(v, str)
    )

    previews = {p.name: cv2.imread(str(p)).shape for p in (run / "previews").iterdir()}
    side = 96  # small pictures are shown larger; input, reconstruction and two swaps
    assert previews.keys() == {"step_0000004.png", "step_0000008.png"}
    assert {(h // side, h % side, w % side, c) for h, w, c in previews.values()} == {(4, 0, 0, 3)}
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["6", "8"]


def test_a_run_continues_on_another_mesh(run, data, tmp_path):
    workdir = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints" / "8")
    config = experiment(data)
    config.mesh.persona = 2
    assert train(config, workdir)
    (step, expected), (other_step, state) = saved_state(run), saved_state(workdir, persona=2)
    assert step == other_step == 8
    assert_equal(expected, state, atol=1e-5)
    assert [row["step"] for row in rows(workdir)] == [2, 4, 6, 8]
    np.testing.assert_allclose(rows(workdir)[-1]["loss"], rows(run)[-1]["loss"], rtol=1e-5)


def test_changed_data_are_refused_unless_they_are_accepted(run, data, tmp_path):
    """And data that have moved are the same."""
    workdir, moved = (
        shutil.copytree(run, tmp_path / "run"),
        shutil.copytree(data, tmp_path / "moved"),
    )
    assert train(experiment(moved), workdir)
    manifest = moved / MANIFEST
    manifest.write_text(manifest.read_text() + "\n")
    known = configs.load(workdir / "config.json").data.manifest
    with pytest.raises(
        InputError, match=rf"another config \(data.manifest: {known} -> [0-9a-f]{{16}}\); undo it"
    ):
        train(experiment(moved), workdir)
    config = experiment(moved)
    config.data.manifest = known
    assert train(config, workdir)


def test_a_finished_run_changes_nothing(run, data, tmp_path, capfd):
    workdir = shutil.copytree(run, tmp_path / "run")
    before = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
    assert train(experiment(data), workdir)
    assert {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()} == before
    assert "is at step 8." in capfd.readouterr().err


def test_any_system_trains(toy, tmp_path, capfd):
    assert train(toy, tmp_path)
    assert [(r["step"], r["phase"]) for r in rows(tmp_path)] == [
        (2, "alone"),
        (4, "alone"),
        (6, "adversarial"),
        (8, "adversarial"),
        (9, "adversarial"),
    ]
    assert [r["step"] for r in rows(tmp_path, evaluation=True)] == [3, 4, 6, 9]
    step, state = saved_state(tmp_path, toy_module.Task(toy))
    assert step == 9 and state.params.keys() == state.opt.keys() == {"generator", "critic"}
    for name, given in toy_module.Task(toy).frozen_inputs().items():
        np.testing.assert_array_equal(state.extras[name], given)
    assert int(state.opt["generator"][0].count) == 9
    assert cv2.imread(str(tmp_path / "previews" / "step_0000009.png")).shape == (
        8 * 12,
        2 * 4 * 12,
        3,
    )
    text = capfd.readouterr().err
    assert (
        "loss_generator" in text
        and "2 corrupt records were skipped; `faceswap verify` tells more." in text
    )


def test_frozen_networks_are_read_when_a_run_begins_and_never_again(
    toy, uninterrupted, tmp_path, monkeypatch
):
    shutil.copytree(uninterrupted, tmp_path / "run")

    def missing(self):
        raise InputError("there is no such file")

    monkeypatch.setattr(toy_module.Task, "frozen_inputs", missing)
    assert train(toy, tmp_path / "run")
    with pytest.raises(InputError, match="there is no such file"):
        train(toy, tmp_path / "new")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A finished run of the toy."""
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert train(toy_module.config(), workdir)
    return workdir


@pytest.mark.parametrize("stop", range(1, 9))
def test_an_interrupted_run_continues_exactly(
    toy, uninterrupted, tmp_path, monkeypatch, capfd, stop
):
    number = signal.SIGINT if stop % 2 else signal.SIGTERM
    before = signal.getsignal(number)
    at_step(
        monkeypatch, stop, lambda: [signal.raise_signal(number) for _ in range(2)]
    )  # the second is an echo
    assert not train(toy, tmp_path)
    assert saved_state(tmp_path, toy_module.Task(toy))[0] == stop
    assert f"saved at step {stop};" in capfd.readouterr().err
    assert signal.getsignal(number) is before
    assert train(toy, tmp_path)
    assert f"Continuing '{tmp_path}' after step {stop}" in capfd.readouterr().err
    assert_equal(
        saved_state(uninterrupted, toy_module.Task(toy))[1],
        saved_state(tmp_path, toy_module.Task(toy))[1],
    )
    assert rows(tmp_path) == rows(uninterrupted)
    scores = {row["step"]: row for row in rows(tmp_path, evaluation=True)}
    assert len(scores) == len(rows(tmp_path, evaluation=True))
    assert all(scores[row["step"]] == row for row in rows(uninterrupted, evaluation=True))


@pytest.mark.parametrize("stop", [4, 8])
def test_a_killed_run_continues_exactly(toy, uninterrupted, tmp_path, monkeypatch, stop):
    def kill():
        raise KeyboardInterrupt  # as a second Ctrl-C does

    at_step(monkeypatch, stop, kill)
    with pytest.raises(KeyboardInterrupt):
        train(toy, tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')  # a line that was being written
    assert train(toy, tmp_path)
    assert_equal(
        saved_state(uninterrupted, toy_module.Task(toy))[1],
        saved_state(tmp_path, toy_module.Task(toy))[1],
    )
    assert (tmp_path / "metrics.jsonl").read_text() == (uninterrupted / "metrics.jsonl").read_text()


@pytest.mark.parametrize(("signal_at", "stopped"), [(5, 6), (4, 4)])
def test_a_signal_during_an_evaluation_waits_for_the_next_step(
    toy, tmp_path, monkeypatch, signal_at, stopped
):
    """But not for another phase, which would have to be compiled."""

    def save_grid(path, *_):
        if path.name == f"step_000000{signal_at}.png":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop.picture, "save_grid", save_grid)
    toy.run.update(preview=5, checkpoint=100)
    assert not train(toy, tmp_path)
    assert saved_state(tmp_path, toy_module.Task(toy))[0] == stopped


def test_a_second_signal_stops_at_once(toy, tmp_path, monkeypatch):
    """But not one that follows so soon that it is the same, sent to a group of processes and passed on."""
    monkeypatch.setattr(interruption, "ECHO_SECONDS", 0)
    before = signal.getsignal(signal.SIGINT)  # a shell in the background ignores it
    at_step(monkeypatch, 5, lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt):
        train(toy, tmp_path)
    assert saved_state(tmp_path, toy_module.Task(toy))[0] == 4
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("step", [2, 3, 6, 9])
def test_a_run_that_diverges_stops_and_saves_nothing(toy, tmp_path, step):
    """Steps 3 and 6 are those of checkpoints, 3 is not logged, 9 is the last one."""
    toy.diverge_at = step
    message = rf"metrics/loss_generator is not finite at step {step}\. .* or lower config.learning_rate in a new"
    with pytest.raises(DivergedError, match=message):
        train(toy, tmp_path)
    assert all(int(p.name) < step for p in (tmp_path / "checkpoints").iterdir())
    assert all(
        json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "metrics.jsonl").open()
    )


def last_checkpoint(workdir) -> int:
    return max((int(p.name) for p in (workdir / "checkpoints").iterdir()), default=0)


@pytest.mark.parametrize(
    ("changes", "step", "tensor"),
    [
        ({"bad_batches": (6,)}, 7, "batch/x"),
        ({"diverge_at": 8}, 8, "metrics/loss_generator"),
        ({"overflow_at": 2}, 2, "params/generator/w"),
        ({"overflow_at": 9}, 9, "params/generator/w"),
        ({"spike_at": 4}, 4, "opt/generator/0/nu/w"),
    ],
)
def test_the_first_tensor_that_is_not_finite_is_named_and_its_batch_written(
    toy, tmp_path, changes, step, tensor
):
    toy.update(changes)
    with pytest.raises(DivergedError) as error:
        train(toy, tmp_path)
    path = tmp_path / "not_finite" / f"step_{step:07d}.npz"
    first = 8 * (step - 1)
    named = "; ".join(f"ada: a.mp4, frame {i}" for i in range(first, first + 8))
    last = last_checkpoint(tmp_path)
    assert str(error.value).startswith(
        f"{tensor} is not finite at step {step}. Its batch is in '{path}' ({named}). "
        f"The run stands at the checkpoint of step {last}; "
    )
    with np.load(path) as aside:
        clean = next(
            iter(toy_module.Task(toy_module.config()).train_data(None, 0, 1)[step - 1 : step])
        )
        assert aside["record"].tolist() == clean["record"].tolist()
        wrong = np.isnan(aside["x"])
        np.testing.assert_array_equal(aside["x"][~wrong], clean["x"][~wrong])
        assert wrong.any() == (tensor == "batch/x")
    assert last == max([s for s in (0, 3, 4, 6) if s < step])
    assert json.loads((tmp_path / "progress.json").read_text())["state"] == "stopped"


def test_a_rollback_skips_the_batch_and_goes_on(toy, tmp_path, caplog):
    """The same as if the batch had never been there, and exactly so after an interruption as well."""
    toy.bad_batches, toy.run.not_finite = (1, 6), "rollback"
    assert train(toy, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "skipped.json").read_text()) == [
        {"batch": 1, "checkpoint": 0},
        {"batch": 6, "checkpoint": 4},
    ]
    assert (
        "batch/x is not finite at step 2." in caplog.text
        and "Going back to step 0; this" in caplog.text
    )
    assert (
        "batch/x is not finite at step 6." in caplog.text
        and "Going back to step 4; this" in caplog.text
    )
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6, 8, 9]

    without = toy_module.Task(toy)
    state = without.init_state(without.phases[0], jax.random.key(3))
    state = replace(state, extras=state.extras | without.frozen_inputs())
    data = without.train_data(None, 0, 1)
    for step, batch in enumerate((0, 2, 3, 4, 5, 7, 8, 9, 10)):
        phase = without.phases[step >= 4]
        if step == 4:
            state = without.enter(phase, state)
        train_step = without.steps(phase)[without.step_name(phase, step)]
        state, _ = train_step(state, {"x": data[batch]["x"]})
    assert_equal(saved_state(tmp_path / "run", toy_module.Task(toy))[1], state, atol=1e-5)

    workdir = shutil.copytree(tmp_path / "run", tmp_path / "again")
    for step in "9":
        shutil.rmtree(workdir / "checkpoints" / step)
    assert train(toy, workdir)
    assert_equal(
        saved_state(tmp_path / "run", toy_module.Task(toy))[1],
        saved_state(workdir, toy_module.Task(toy))[1],
    )
    assert (workdir / "metrics.jsonl").read_text() == (
        tmp_path / "run" / "metrics.jsonl"
    ).read_text()


def test_rollbacks_that_do_not_help_end(toy, tmp_path):
    toy.overflow_at, toy.run.not_finite = 5, "rollback"
    with pytest.raises(
        DivergedError,
        match="3 batches after the checkpoint of step 4 have been skipped, and it did",
    ):
        train(toy, tmp_path)
    assert [entry["batch"] for entry in json.loads((tmp_path / "skipped.json").read_text())] == [
        4,
        5,
        6,
    ]


def test_data_that_fail_leave_what_was_learned(toy, uninterrupted, tmp_path, monkeypatch, capfd):
    """As when a shard disappears."""
    original = pipeline.iterate

    @contextmanager
    def iterate(*arguments, **options):
        def batches(iterator):
            yield from itertools.islice(iterator, 1)
            raise InputError("shards/ada-00000.arrayrecord has disappeared; put it back")

        with original(*arguments, **options) as iterator:
            yield batches(iterator)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "iterate", iterate)
        with pytest.raises(InputError, match="has disappeared"):
            train(toy, tmp_path)
    assert "Saved at step 1." in capfd.readouterr().err
    assert saved_state(tmp_path, toy_module.Task(toy))[0] == 1
    assert train(toy, tmp_path)
    assert_equal(
        saved_state(uninterrupted, toy_module.Task(toy))[1],
        saved_state(tmp_path, toy_module.Task(toy))[1],
    )


def test_too_little_memory_is_told_in_a_sentence(toy, tmp_path, monkeypatch):
    def huge(self, state, batch):
        whole = jnp.broadcast_to(batch["x"][0, 0], (2**20, 2**20, 2**12)) * jnp.arange(
            2**12
        )  # 16 PiB
        return replace(state, step=state.step + 1), {"loss": jnp.sort(whole).sum()}

    monkeypatch.setattr(toy_module.Task, "_step", huge)
    with pytest.raises(
        InputError,
        match=r"Out of memory at alone with config.batch=8 \(.*\); .* lower config.batch",
    ):
        train(toy, tmp_path)


@pytest.fixture
def unplugged(tmp_path, monkeypatch):
    """No account, and a server that does not answer."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_RUN_ID", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://localhost:9")
    monkeypatch.setattr(board, "PATIENCE", 1)
    yield
    wandb.teardown()


def test_a_key_without_a_network_stops_no_run(toy, unplugged, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", 40 * "0")
    toy.run.wandb = "faces"
    assert train(toy, tmp_path / "run")
    assert "W&B cannot be reached" in caplog.text
    wandb.teardown()  # as at the end of the process; until then W&B's own process may still be writing
    assert sorted(offline_board.history(tmp_path / "run")) == [2, 3, 4, 6, 8, 9]


def test_a_run_in_wandb_is_one_however_often_it_is_continued(
    toy, uninterrupted, unplugged, tmp_path, monkeypatch
):
    toy.run.wandb, workdir = "faces", tmp_path / "run"
    at_step(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGTERM))
    assert not train(toy, workdir)
    assert train(toy, workdir)
    starts = list(offline_board.records(workdir, "run"))
    assert {(run.run_id, run.project) for run in starts} == {
        ((workdir / "wandb_id").read_text(), "faces")
    }
    settings = {
        item.key or item.nested_key[0]: json.loads(item.value_json)
        for item in starts[0].config.update
    }
    assert settings["run.checkpoint"] == 3 and settings["batch"] == 8
    expected = {}
    for row in map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines()):
        expected.setdefault(row.pop("step"), {}).update(row)
    shown = offline_board.history(workdir)
    assert {
        s: {n: v for n, v in row.items() if "preview" not in n} for s, row in shown.items()
    } == expected
    pictures = {step: row["preview/path"] for step, row in shown.items() if "preview/path" in row}
    assert list(pictures) == [row["step"] for row in rows(workdir, evaluation=True)]
    assert all(list((workdir / "wandb").glob(f"*/files/{path}")) for path in pictures.values())
    assert_equal(
        saved_state(uninterrupted, toy_module.Task(toy))[1],
        saved_state(workdir, toy_module.Task(toy))[1],
    )


def test_too_little_memory_of_a_cpu_is_told_before(toy, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(program.psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    assert train(toy, tmp_path)
    for phase in ("alone", "adversarial, plain", "adversarial, regularised"):
        text = f"{phase} needs 0.0 GiB for a step with config.batch=8, of which 0.0 are free: if the process is killed"
        assert text in caplog.text


def test_the_best_checkpoint_stays(toy, tmp_path, monkeypatch):
    toy.run.update(best="-error", preview=1, checkpoint=1, keep=1)
    errors = iter(
        [9.0, 1.0, 2.0, 0.5, 7.0, 4.0, 3.0, 5.0, 6.0]
    )  # four steps of the first phase, five of the second
    evaluation = Reporter.evaluation

    def scored(self, step, values, preview):
        return evaluation(self, step, {"error": next(errors)}, preview)

    monkeypatch.setattr(Reporter, "evaluation", scored)
    assert train(toy, tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["7", "9"]
    toy.run.best = "psnr"
    with pytest.raises(
        InputError, match=r"config.run.best is 'psnr'; the scores are error, spread"
    ):
        train(toy, tmp_path / "other")


def test_a_kill_before_the_end_is_noted_is_made_up_for(toy, uninterrupted, tmp_path):
    workdir = shutil.copytree(uninterrupted, tmp_path / "run")
    progress.note(workdir, "running", 8, 9)
    assert train(toy, workdir)
    assert progress.read(workdir)["state"] == "finished"


def test_a_kill_while_the_folder_is_made_leaves_one_that_can_be_used(toy, tmp_path):
    (tmp_path / ".config.json.123.partial").write_text('{"task": "to')
    assert train(toy, tmp_path)


def test_one_job_at_a_time(toy, tmp_path):
    toy.run.checkpoint = 1
    train(toy, tmp_path)
    with (
        locked(tmp_path),
        pytest.raises(InputError, match=r"Another process is writing .*; wait for it or stop it"),
    ):
        train(toy, tmp_path)


def test_steps_are_traced(toy, tmp_path, monkeypatch):
    train(toy, tmp_path, Profile.parse("6:8", tmp_path / "profile"))
    traces = list((tmp_path / "profile" / "plugins" / "profile").rglob("*.xplane.pb"))
    assert len(traces) == 1 and traces[0].stat().st_size > 1000
    second = Profile.parse("2:99", tmp_path / "late")
    at_step(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGTERM))
    assert not train(toy, tmp_path / "run", second)
    assert train(
        toy, tmp_path / "run", second
    )  # continues within the range, and ends before its last step
    assert len(list((tmp_path / "late").rglob("*.xplane.pb"))) >= 2
    for text in ("", "3", "5:3", "0:4", "a:b", "1:2:3"):
        with pytest.raises(InputError, match="give the first and the last step, such as 10:14"):
            Profile.parse(text, tmp_path)


def test_what_is_not_put_on_the_device_is_refused(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "put", lambda batch, *_: {"x": batch["x"]})
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        train(toy, tmp_path)


class Watched:
    """A value on the device that notes when the host reads it."""

    def __init__(self, value, note):
        self.value, self.note = value, note

    def __array__(self, *_, **__):
        self.note()
        return np.asarray(self.value)


def test_values_are_read_when_the_next_step_is_under_way(toy, tmp_path, monkeypatch):
    """But for the last before an evaluation or a checkpoint: those are to be right."""
    events, original = [], loop.programs_of

    def programs_of(*arguments):
        programs = original(*arguments)

        def watched(program, state, batch):
            step = int(state.step) + 1
            events.append(("dispatched", step))
            state, values, good = program(state, batch)
            return state, values, Watched(good, lambda: events.append(("read", step)))

        steps = {name: partial(watched, program) for name, program in programs.steps.items()}
        return replace(programs, steps=steps)

    monkeypatch.setattr(loop, "programs_of", programs_of)
    toy.run.update(log=1, preview=100, checkpoint=6)
    assert train(toy, tmp_path)
    assert {step for event, step in events if event == "read"} == set(range(1, 10))
    for step in set(range(1, 10)) - {4, 6, 9}:  # ends of phases, and a checkpoint
        assert events.index(("dispatched", step + 1)) < events.index(("read", step))
        assert step == 8 or events.index(("read", step)) < events.index(("dispatched", step + 2))


def test_every_session_tells_what_its_time_was_spent_on(toy, tmp_path, monkeypatch, capfd):
    at_step(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()
    train(toy, tmp_path)
    train(toy, tmp_path)
    wall = time.monotonic() - began
    train(toy, tmp_path)  # has nothing to do
    sessions = [json.loads(line) for line in (tmp_path / "goodput.jsonl").read_text().splitlines()]
    assert [(session["after"], session["step"]) for session in sessions] == [(0, 5), (5, 9)]
    assert all(
        tuple(session["seconds"]) == PARTS and min(session["seconds"].values()) > 0
        for session in sessions
    )
    assert 0.5 * wall < sum(sum(session["seconds"].values()) for session in sessions) < wall
    lines = [line for line in capfd.readouterr().err.splitlines() if " steps: start " in line]
    assert [line.split(" for ")[1].split(":")[0] for line in lines] == ["5 steps", "4 steps"]
    for line in lines:
        assert sum(float(share) for share in re.findall(r"([\d.]+) %", line)) == pytest.approx(
            100, abs=0.3
        )


def test_each_function_compiles_once(toy, tmp_path, monkeypatch):
    lowered, original = [], jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered,
        "compile",
        lambda self, *a: lowered.append(self) or original(self, *a),
        raising=True,
    )
    train(toy, tmp_path)
    assert (
        len(lowered) == 1 + 4 + 6
    )  # the state; a step, two scores, a preview; of the second phase its beginning and the other step too


def test_another_config_is_refused(toy, uninterrupted, tmp_path):
    workdir = shutil.copytree(uninterrupted, tmp_path / "run")
    before = (workdir / "config.json").read_bytes()
    toy.batch = 16
    with pytest.raises(InputError, match=r"holds a run of another config \(batch: 8 -> 16\)"):
        train(toy, workdir)
    assert (workdir / "config.json").read_bytes() == before
    toy.update(batch=8)
    toy.run.update(log=1, keep=1)
    assert train(toy, workdir)
    assert configs.load(workdir / "config.json").run.log == 1


def test_the_newest_checkpoints_stay(toy, tmp_path):
    toy.run.update(checkpoint=1, keep=3)
    train(toy, tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["7", "8", "9"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"batch": 7},
            r"batch of shape \(7, 3\) does not divide among the mesh .*; change config.batch",
        ),
        ({"run.log": 0}, "config.run.log is 0; give 1 or more"),
        ({"run.keep": 0}, "config.run.keep is 0"),
        (
            {"run.keep_every": 4},
            "config.run.keep_every is 4; give a multiple of config.run.checkpoint, 3, or 0",
        ),
        (
            {"run.best": "error", "run.preview": 2},
            "config.run.checkpoint is 3; give a multiple of config.run.preview, 2",
        ),
        (
            {"run.not_finite": "ignore"},
            "config.run.not_finite is 'ignore'; choose stop or rollback",
        ),
        ({"mesh.persona": 3}, "config.mesh.persona is 3; choose a divisor of the 8 devices"),
        ({"mesh.cpu_devices": 0}, "config.mesh.cpu_devices is 0"),
    ],
)
def test_a_wrong_config_leaves_nothing(toy, tmp_path, changes, message):
    toy.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=message):
        train(toy, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_pictures_that_are_too_small_are_told_before_the_first_step(data, tmp_path):
    config = experiment(data)
    config.level_steps = (0, 4, 4, 4)
    with pytest.raises(InputError, match="have 16 px, but 32 px are wanted"):
        train(config, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_foreign_folders_are_left_alone(toy, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    for workdir in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(
            InputError, match="exists and is not the folder of a run; choose a new --workdir"
        ):
            train(toy, workdir)
    with pytest.raises(InputError, match="cannot be written"):
        train(toy, tmp_path / "mine.txt" / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("text", ["{}", "[1, 2]", "no json", '{"name": "of something else"}'])
def test_a_foreign_config_is_refused(toy, tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="is not the config of a run"):
        train(toy, tmp_path)
    assert (tmp_path / "config.json").read_text() == text


def test_unknown_systems_and_data_are_named(tmp_path):
    config = comb_experiment.get_config()
    config.data.path = str(tmp_path / "nowhere")
    with pytest.raises(
        InputError, match="nowhere does not exist; make one with `faceswap prepare`"
    ):
        train(config, tmp_path / "run")
    config.task = "cmob"
    with pytest.raises(InputError, match=r"config\.task is 'cmob'; choose one of comb"):
        train(config, tmp_path / "run")
    assert not list(tmp_path.iterdir())
