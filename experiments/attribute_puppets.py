"""MC-AAD on rendered puppets, at 64 px: identities and expressions of puppets that it has never seen.

Costs: not measured yet.
Expect: not measured yet.

    faceswap puppets --output data --format records --world_seed 7 --personas 600 --tracks 4 --frames 4 --rate 1 \
        --resolution 64
    faceswap train --config experiments/identity.py --workdir runs/identity --config.data.path=data
    faceswap train --config experiments/expression.py --workdir runs/expression --config.data.path=data
    faceswap train --config experiments/attribute_puppets.py --workdir runs/attribute --config.data.path=data

All three hold the same tenth of the people out. A run that was stopped goes on by the same command.
"""

import ml_collections

from experiments import attribute


def get_config() -> ml_collections.ConfigDict:
    """A quarter of the channels, six levels, and a discriminator that cannot run away."""
    c = attribute.get_config()
    c.features.expression = "runs/expression"
    c.model.update(resolution=64, levels=6, width=0.25)
    c.model.discriminator.update(halvings=4, scales=2, width=0.25)
    c.loss.update(adversary="relativistic", penalty=1.0, adversarial_warm_up=2_000)
    c.data.same = 0.1
    c.steps = 12_000
    c.average = 0.99
    c.mesh.cpu_devices = 1
    c.run.update(preview=500, checkpoint=500)
    return c
