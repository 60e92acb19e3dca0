"""ReStyle on rendered puppets, at 64 px: pictures of puppets that it has never seen, found in a StyleGAN2 of puppets.

Costs: not measured yet; by adding up some 65 GFLOP a step, nine tenths of them the generator's.
Expect: not measured yet.
Reproduces: experiments/inversion.py, with a quarter of the width and a block for each stage.

    faceswap puppets --output data --format records --world_seed 7 --personas 600 --tracks 4 --frames 4 --rate 1 \
        --resolution 64
    faceswap train --config experiments/identity.py --workdir runs/identity --config.data.path=data
    faceswap train --config experiments/stylegan2_puppets.py --workdir runs/stylegan2 --config.data.path=data
    faceswap train --config experiments/inversion_puppets.py --workdir runs/inversion --config.data.path=data

All hold the same tenth of the people out. A run that was stopped goes on by the same command.
"""

import ml_collections

from experiments import inversion


def get_config() -> ml_collections.ConfigDict:
    """A small encoder."""
    c = inversion.get_config()
    c.alignment = "eyes"
    c.data.test = 32
    c.model.update(side=64, blocks=(1, 1, 1, 1), channels=(16, 32, 64, 128), stem=16)
    c.deltas.update(start=600, every=100)
    c.steps = 6_000
    c.learning_rate = 5e-4
    c.mesh.cpu_devices = 1
    c.run.update(preview=500, checkpoint=500)
    return c
