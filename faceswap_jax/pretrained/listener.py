"""The network that hears, of a run of experiments/sync.py: what a sound says of the mouth that makes it.

The features are its embeddings themselves, of unit length, as X2Face takes the last layer of SyncNet's audio stream.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Float, Float32, PyTree

from faceswap_jax.checkpoints.digests import digests
from faceswap_jax.faces import mel
from faceswap_jax.losses.identity import normalised
from faceswap_jax.models import sync
from faceswap_jax.pretrained import runs


@dataclass(frozen=True, eq=False)
class Listener:
    """A trained network.

    Attributes:
        config: its shape.
        params: its weights.
        digest: of these, 16 hexadecimal digits.
    """

    config: sync.SyncConfig
    params: PyTree
    digest: str

    def __call__(self, windows: Float[np.ndarray, "n 3200"]) -> Float32[np.ndarray, "n embedding"]:
        """Features of sound at 16 kHz in -1..1."""
        heard = sync.hear(self.config, self.params, mel.log_mel(windows))
        return np.asarray(normalised(heard))


def load(path: Path) -> Listener:
    """The network that hears, of a run of `config.task` "sync", at its newest checkpoint.

    Raises:
        InputError: there is no such run, or it has no checkpoint yet.
    """
    config, found = runs.load(path, "sync", parts)
    digest = digests(jax.tree.map(jnp.asarray, found))["params/sound"]
    return Listener(shape(config), found["params"]["sound"], digest)


def parts(config: ml_collections.ConfigDict) -> runs.Parts:
    """Shapes of what is read of a run: not the network that looks at mouths, nor the optimizer's state."""
    params = jax.eval_shape(partial(sync.init, shape(config)), jax.random.key(0))
    return {"params": {"sound": params["sound"]}}


def shape(config: ml_collections.ConfigDict) -> sync.SyncConfig:
    """The shape of the networks that a config of `config.task` "sync" describes."""
    c = config.model
    return sync.SyncConfig(
        heard=mel.STEPS * mel.BANDS,
        hidden=c.hidden,
        side=c.side,
        stem=c.stem,
        levels=tuple(c.levels),
        squeeze=c.squeeze,
        embedding=c.embedding,
    )
