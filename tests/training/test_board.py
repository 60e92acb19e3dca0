"""A run in W&B, without its server."""

import json
import signal
import time

import pytest
import wandb

from faceswap_jax.reporting import board
from faceswap_jax.train import train
from tests.support import offline_board
from tests.support.runs import assert_equal, at_step, saved_state
from tests.support.tiny_run import rows


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
    # W&B's process may still be writing on a busy machine.
    for _ in range(100):
        if len(shown) >= len(expected):
            break
        time.sleep(0.1)
        shown = offline_board.history(workdir)
    assert {
        s: {n: v for n, v in row.items() if "preview" not in n} for s, row in shown.items()
    } == expected
    pictures = {step: row["preview/path"] for step, row in shown.items() if "preview/path" in row}
    assert list(pictures) == [row["step"] for row in rows(workdir, evaluation=True)]
    assert all(list((workdir / "wandb").glob(f"*/files/{path}")) for path in pictures.values())
    assert_equal(saved_state(uninterrupted), saved_state(workdir))
