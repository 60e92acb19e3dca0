"""Too little memory."""

from dataclasses import replace
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.train import train
from faceswap_jax.training import memory
from tests.support.toy import Task as Toy


def test_too_little_memory_is_told_in_a_sentence(toy, tmp_path, monkeypatch):
    def huge(self, state, batch):
        shape = (2**20, 2**20, 2**12)  # 16 PiB
        whole = jnp.broadcast_to(batch["x"][0, 0], shape) * jnp.arange(shape[-1])
        return replace(state, step=state.step + 1), {"loss": jnp.sort(whole).sum()}

    monkeypatch.setattr(Toy, "_step", huge)
    message = r"Out of memory at alone with config.batch=8 \(.*\); .* lower config.batch"
    with pytest.raises(InputError, match=message):
        train(toy, tmp_path)


def test_too_little_memory_of_a_cpu_is_told_before(toy, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    assert train(toy, tmp_path)
    for phase in ("alone", "adversarial, plain", "adversarial, regularised"):
        assert f"{phase} needs 0.0 GiB for a step with config.batch=8" in caplog.text
