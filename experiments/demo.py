"""The comb network on three rendered puppets, small enough for two CPU cores: the experiment of `faceswap demo`.

Begins with what 128 other puppets have taught, see pretraining.py.

    faceswap demo --output build/demo
"""

import ml_collections

from experiments import pretraining


def get_config() -> ml_collections.ConfigDict:
    """The values of the pretraining, at half its rate."""
    c = pretraining.get_config()
    c.init = "puppets"
    c.level_steps = (0, 0, 0, 0, 330)
    c.final_steps = 110
    c.batch = 4
    c.personas_per_step = None
    c.learning_rate = 0.01
    c.final_learning_rate = 0.002
    c.average = 0.95
    c.data.jitter.update(rotation=0.0, scale=0.0, shift=0.0)
    c.run.update(log=20, preview=440, checkpoint=220)
    return c
