"""Runs that tests train, stop and compare."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.reporting.reporter import Reporter
from faceswap_jax.state import State
from faceswap_jax.training import runs


def saved_state(workdir: Path, persona: int = 1) -> State:
    """The newest state of a run."""
    return runs.load(workdir, make_mesh(persona), optimizer=True).state


def saved_steps(workdir: Path) -> list[int]:
    """Steps of the checkpoints of a run."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def assert_equal(a: State, b: State, atol: float = 0.0) -> None:
    """Two states agree, exactly or nearly."""
    a, b = (replace(s, key=jax.random.key_data(s.key)) for s in (a, b))
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=0, atol=atol), a, b)


def at_step(monkeypatch, step: int, action) -> None:
    """Calls `action` in the middle of a step, once."""
    original, done = Reporter.train, []

    def train(self, now, *rest):
        original(self, now, *rest)
        if now == step and not done:
            done.append(True)
            action()

    monkeypatch.setattr(Reporter, "train", train)
