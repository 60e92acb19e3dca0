"""Agents of a W&B sweep, with a stand-in for wandb."""

import pytest

from tests.support.cluster import ROOT, SAVED, ended


def test_sweep_gives_each_agent_its_device(fakes):
    fakes.add("wandb")
    result = fakes.run("launch/sweep_agent", "me/faces/abc", "--devices", "0,2,5", "--count=7")
    assert result.returncode == 0, result.stderr
    calls = fakes.calls("wandb")
    assert {c["env"]["CUDA_VISIBLE_DEVICES"] for c in calls} == {"0", "2", "5"}
    assert all(
        c["argv"] == ["agent", "--forward-signals", "--count", "7", "me/faces/abc"] for c in calls
    )


def test_sweep_fails_with_an_agent(fakes):
    fakes.add("wandb", [{"code": 1}, {}])
    assert fakes.run("launch/sweep_agent", "me/faces/abc", "--devices=0,1").returncode == 1


@pytest.mark.parametrize("code", [0, 3])
def test_sweep_hands_term_on(fakes, code):
    fakes.add("wandb", SAVED | {"code": code})
    process = fakes.start(ROOT / "launch/sweep_agent", "me/faces/abc", "--devices", "0,1")
    fakes.wait("wandb", 2)
    process.terminate()
    assert ended(process) == bool(code)


@pytest.mark.parametrize(
    "arguments", [[], ["a", "b"], ["a", "--devices", "x"], ["a", "--count"], ["a", "--gpus=1"]]
)
def test_sweep_refuses_what_it_does_not_know(fakes, arguments):
    fakes.add("wandb")
    result = fakes.run("launch/sweep_agent", *arguments)
    assert result.returncode == 2
    assert result.stderr
    assert fakes.calls("wandb") == []
