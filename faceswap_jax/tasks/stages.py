"""What the values of a config must be that describe a network in stages, such as the residual ones."""

from collections.abc import Sequence

import ml_collections

from faceswap_jax.config import Demand, at_least


def stage_demands(config: ml_collections.ConfigDict) -> dict[str, Demand]:
    """Of blocks, channels and stem of `config.model`; see `faceswap_jax.config.check`."""
    return {
        "model.blocks": Demand(_counts, "give the number of blocks of each stage"),
        "model.channels": Demand(
            lambda channels: _counts(channels) and len(channels) == len(config.model.blocks),
            "give a number for each of config.model.blocks",
        ),
        "model.stem": at_least(1),
    }


def _counts(values: Sequence[int]) -> bool:
    return len(values) > 0 and min(values) >= 1
