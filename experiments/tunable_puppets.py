r"""Part encoders and the tunable decoder on eight rendered puppets, to set beside comb_puppets.py.

Costs: not measured.
Expect: not measured: nobody has trained it to the end yet.
Reproduces: swaps between 56 ordered pairs of personas, on performances that none was trained on, and mixes of personas.

    faceswap puppets --output data --format records --personas 8 --tracks 12 --frames 25 --rate 3 --resolution 64
    faceswap train --config experiments/tunable_puppets.py --workdir runs/tunable --config.data.path=data
    faceswap train --config experiments/tunable_puppets.py --workdir runs/coded --config.data.path=data \
        --config.model.tuning=code
"""

import ml_collections

from experiments import comb_puppets, tunable


def get_config() -> ml_collections.ConfigDict:
    """The values of comb_puppets.py but for the network, whose latent is as long."""
    c = comb_puppets.get_config()
    width = c.model.width
    c.model = tunable.get_config().model
    # Four parts of 32 each
    c.model.update(width=width, latent=32, part_latent=32, code=16)
    return c
