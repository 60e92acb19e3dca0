r"""A comb network of 128 rendered puppets, whose encoder and mean decoder other trainings begin with.

faceswap puppets --output data --format records --world_seed 1 --personas 128 --tracks 8 --frames 16 --rate 2 \
        --resolution 64
faceswap train --config experiments/pretraining.py --workdir runs/pretraining --config.data.path=data
"""

import ml_collections

from experiments import comb


def get_config() -> ml_collections.ConfigDict:
    """One level, eight of the personas a step."""
    c = comb.get_config()
    c.data.mirror = True
    # Real landmarks are not exact.
    c.data.jitter.update(rotation=3.0, scale=0.04, shift=0.015)
    c.model.update(channels=(96, 96, 96, 64, 16), latent=128, mean_decoder=True)
    c.level_steps = (0, 0, 0, 0, 20_000)
    c.final_steps = 400
    c.batch = 4
    c.personas_per_step = 8
    c.optimizer = "muon"
    c.learning_rate = 0.02
    c.final_learning_rate = 0.002
    c.average = 0.995
    c.loss.update(l1=1.0, parts=4.0, matching=0.03)
    c.mesh.cpu_devices = 2
    c.run.update(log=20, preview=500, checkpoint=250)
    return c
