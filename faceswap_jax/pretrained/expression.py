"""The frozen network that reads what a face does, of a run of experiments/expression.py."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import ml_collections
import numpy as np

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import read_parts
from faceswap_jax.errors import InputError
from faceswap_jax.faces.expression import MEASURES
from faceswap_jax.models import expression
from faceswap_jax.ops import precision
from faceswap_jax.parallel.mesh import make_mesh


@dataclass(frozen=True, eq=False)
class Reader:
    """A trained network.

    Attributes:
        config: its shape.
        params: its weights, NumPy arrays.
    """

    config: expression.ExpressionConfig
    params: expression.Params


def load_for(path: str, alignment: str) -> Reader:
    """The network of a run of `config.task` "expression", at its newest checkpoint, for faces of `config.alignment`.

    Raises:
        InputError: there is no such run, it has no checkpoint yet, or it knows faces of another alignment.
    """
    config = configs.load(Path(path) / "config.json")
    if config.task != "expression":
        raise InputError(
            f"'{path}' holds a run of '{config.task}', which reads no expressions; give one of 'expression'."
        )
    if config.alignment != alignment:
        raise InputError(
            f"config.alignment is '{alignment}', but '{path}' reads faces aligned as '{config.alignment}'; set "
            f"config.alignment={config.alignment}, or train another with --config.alignment={alignment}."
        )
    network = shape(config)
    params = jax.eval_shape(partial(expression.init, network), jax.random.key(0))
    read = read_parts(Path(path), lambda _: {"params": params}, make_mesh())
    return Reader(network, jax.tree.map(np.asarray, read["params"]))


def shape(config: ml_collections.ConfigDict) -> expression.ExpressionConfig:
    """The shape of the network that a config of `config.task` "expression" describes."""
    c = config.model
    return expression.ExpressionConfig(
        outputs=len(MEASURES),
        side=config.resolution,
        stem=c.stem,
        levels=tuple(c.levels),
        squeeze=c.squeeze,
        hidden=c.hidden,
        dtype=precision.dtype(config.precision),
    )
