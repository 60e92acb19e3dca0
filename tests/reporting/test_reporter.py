"""The reporter: rows, their end and the estimate of the time left."""

import json
import math

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from faceswap_jax.errors import DivergedError
from faceswap_jax.faces.picture import save_grid
from faceswap_jax.reporting import progress
from faceswap_jax.reporting import reporter as metrics
from faceswap_jax.reporting.reporter import Reporter
from faceswap_jax.tasks.base import Phase, Preview
from tests.support.tiny_run import all_rows

PHASES = [Phase("small", 0, 10, stage=0, cost=1.0), Phase("large", 10, 30, stage=1, cost=4.0)]


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [1000.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(metrics, "QUIET_SECONDS", 0)
    return now


def steps(workdir) -> list[int]:
    return [
        json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()
    ]


def values(loss=0.5) -> dict:
    return {"loss": jnp.float32(loss), "loss/ada": jnp.float32(0.25)}


def test_logged_steps_and_ends_of_phases_are_written(tmp_path, capfd):
    with Reporter(tmp_path, PHASES, 0, log_every=4) as reporter:
        for step in range(1, 13):
            reporter.train(step, PHASES[step > 10], values(step))
            if step == 5:
                assert steps(tmp_path) == [4]  # one step behind
        reporter.evaluation(12, {"psnr": jnp.float32(30)})
    rows = all_rows(tmp_path)
    assert [row["step"] for row in rows if "phase" in row] == [4, 8, 10, 12]
    assert rows[0] == {"step": 4, "phase": "small", "loss": 4.0, "loss/ada": 0.25}
    assert {"step": 12, "eval/psnr": 30.0} in rows
    assert "step 12  eval/psnr 30" in capfd.readouterr().err


def test_a_preview_tells_the_scores_and_what_goes_wrong(tmp_path, capfd):
    images = np.zeros((2, 3, 32, 32, 3), np.float32)
    shown = Preview(draw=None, rows=("one", "two"))
    with Reporter(tmp_path, PHASES, 0, log_every=1) as reporter:
        for step in range(1, 12):
            reporter.train(step, PHASES[step > 10], values() | {"told_apart": jnp.float32(1)})
        scores = {"psnr": jnp.float32(30)}
        reporter.evaluation(11, scores, shown, images)
    assert "Warning: The discriminator has won" in capfd.readouterr().err
    seen = np.array(PIL.Image.open(tmp_path / "previews" / "step_0000011.png"))
    save_grid(tmp_path / "plain.png", images, shown.rows)
    plain = np.array(PIL.Image.open(tmp_path / "plain.png"))
    np.testing.assert_array_equal(seen[: len(plain)], plain)
    # Dark lines of text, as many as they take
    below = (seen[len(plain) :] < 128).any((1, 2))
    assert 3 * 8 < below.sum() < len(below)


def test_time_left_weighs_the_phases(tmp_path, clock, capfd):
    """Two seconds a step at 10 px are eight at 20 px."""
    with Reporter(tmp_path, PHASES, 0, log_every=2) as reporter:
        for step in range(1, 6):
            reporter.train(step, PHASES[0], values())
            clock[0] += 2
        first, estimate, second = capfd.readouterr().err.splitlines()
        assert first == "small  step 2/30  loss 0.5000"  # no speed yet
        assert "2m 52s" in estimate  # 6 * 2 s + 20 * 8 s
        assert second == "small  step 4/30  loss 0.5000  0.50 steps/s  2m 52s left"
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["seconds"] for row in rows] == [4, 8]
    assert [row.get("steps_per_second") for row in rows] == [None, 0.5]


def test_a_new_phase_measures_anew(tmp_path, clock, capfd):
    with Reporter(tmp_path, PHASES, 8, log_every=1) as reporter:
        for step, seconds in ((9, 2), (10, 600), (11, 8), (12, 8), (13, 8)):
            reporter.train(step, PHASES[step > 10], values())
            clock[0] += seconds  # ten minutes of them for compiling
    assert "large  step 12/30  loss 0.5000  0.12 steps/s  2m 24s left" in capfd.readouterr().err


def test_rows_after_the_resumed_step_are_dropped_and_time_goes_on(tmp_path, clock):
    path = tmp_path / "metrics.jsonl"
    known = [{"step": step, "phase": "small", "seconds": 10 * step} for step in (2, 4, 6, 8)]
    lines = [json.dumps(row) + "\n" for row in known]
    path.write_text("".join(lines) + '{"step": 2')  # the last one was cut off
    with Reporter(tmp_path, PHASES, 6, log_every=2) as reporter:
        assert path.read_text() == "".join(lines[:3])
        clock[0] += 3
        reporter.evaluation(7, {"psnr": jnp.float32(30)})
    assert json.loads(path.read_text().splitlines()[-1])["seconds"] == 63


def test_numbers_are_written_as_people_wrote_them(tmp_path):
    with Reporter(tmp_path, PHASES, 0, log_every=1) as reporter:
        reporter.train(1, PHASES[0], {"learning_rate": jnp.float32(0.0007), "n": jnp.int32(3)})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert '"learning_rate": 0.0007' in text and '"n": 3.0' in text


def test_shares_of_the_time_make_a_whole(tmp_path, capfd):
    with Reporter(tmp_path, PHASES, 2, log_every=2) as reporter:
        assert not reporter.end(2, {"start": 1.0, "step": 0.0}, corrupt=0)  # nothing was done
        assert not (tmp_path / "goodput.jsonl").exists()
        assert not reporter.end(12, {"start": 30.0, "step": 90.0}, corrupt=0)
    assert "2m 00s for 10 steps: start 25.0 %, step 75.0 %." in capfd.readouterr().err
    row = json.loads((tmp_path / "goodput.jsonl").read_text())
    assert row == {"after": 2, "step": 12, "seconds": {"start": 30, "step": 90}}


class WrongError(Exception):
    pass


def wrong():
    raise WrongError("loss is wrong")


def test_a_step_that_fails_its_check_is_not_reported(tmp_path):
    with pytest.raises(WrongError), Reporter(tmp_path, PHASES, 0, 1) as reporter:
        for step, check in ((1, lambda: None), (2, wrong), (3, lambda: None)):
            reporter.train(step, PHASES[0], values(), check)
    assert steps(tmp_path) == [1]
    note = progress.read(tmp_path)
    expected = {"state": "stopped", "reason": "loss is wrong", "step": 1, "of": 30}
    assert note | expected == note


def test_the_last_step_is_checked_and_the_file_closed(tmp_path):
    reporter = Reporter(tmp_path, PHASES, 0, 1)
    with pytest.raises(WrongError), reporter:
        reporter.train(1, PHASES[0], values(), wrong)
    assert reporter._file.closed


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_score_that_is_no_number_stops(tmp_path, broken):
    message = "score psnr of held-out data is (nan|inf) at step 2; look at"
    with (
        pytest.raises(DivergedError, match=message),
        Reporter(tmp_path, PHASES, 2, 1) as reporter,
    ):
        reporter.evaluation(2, {"psnr": jnp.float32(broken)})
    assert steps(tmp_path) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0m 00s"), (59.6, "1m 00s"), (3599.7, "1h 00m"), (90_061, "25h 01m")],
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text
