"""MC-AAD on rendered puppets, at 64 px: identities and expressions of puppets that it has never seen.

Costs: 2.5 steps a second on two quiet cores, so 80 minutes; 0.4 to 1.3 steps a second on half of a busy one. 3.4 GiB.
Expect: not measured to its end. Of the first 600 steps: people never seen as themselves have 19.8 dB, still rising, and
results keep head, pose and background of the attribute picture; faces are soft and spotted. The frozen network finds
the identity that was lent in 75 % of 64 people, 2 % are chance, and is no judge: the training goes against it.
Tried for 500 steps: with --config.loss.features=0.5 people as themselves have 22.0 dB for 18.6, with fewer spots, and
identities and expressions come later (0.35 from the one lent for 0.07, untouched 0.90).
Reproduces: experiments/attribute.py with an expression role, small. The relativistic loss with R1 and R2 is R3GAN's.

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
    c.loss.update(features=1.0, features_warm_up=3_000)
    c.loss.update(adversary="relativistic", penalty=0.01, adversarial_warm_up=2_000)
    c.data.same = 0.1
    c.steps = 12_000
    c.average = 0.99
    c.mesh.cpu_devices = 1
    c.run.update(preview=500, checkpoint=500)
    return c
