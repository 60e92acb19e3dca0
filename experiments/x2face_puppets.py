"""X2Face on rendered puppets, at 64 px: one picture of a puppet that it has never seen, driven by frames.

Costs: not measured yet; the steps are meant for an hour on two CPU cores. A machine that other work kept busy made 0.7
steps a second.
Expect: not measured yet. After 200 steps L1 on puppets never seen is 0.0871 with two sources and 0.0947 with one, where
the source as it is has 0.0935; faces begin to turn, and some results have holes.

    faceswap puppets --output data --format records --world_seed 1 --personas 128 --tracks 24 --frames 8 --rate 2 \
        --resolution 64 --together 8
    faceswap train --config experiments/x2face_puppets.py --workdir runs/x2face --config.data.path=data

Stage II needs a frozen face network. None ships, for the oracle, which knows puppets best, is what scores the results;
experiments/identity.py trains one, on the same data, with faces cut alike:

    faceswap train --config experiments/identity.py --workdir runs/identity --config.data.path=data \
        --config.alignment=box
    faceswap train --config experiments/x2face_puppets.py --workdir runs/x2face --config.data.path=data \
        --config.loss.embedder=runs/identity --config.content_steps=1000

Not as published: 64 px, six halvings, half of the channels, two sources, and Adam, which needs fewer steps.
"""

import ml_collections

from experiments import x2face


def get_config() -> ml_collections.ConfigDict:
    """The published values but for size, steps and the optimizer."""
    c = x2face.get_config()
    c.data.sources = 2
    c.data.driving = 4
    c.data.mirror = True
    c.model.update(resolution=64, width=0.25, inner=256)
    c.steps = 9_000
    c.batch = 8
    c.optimizer = "adam"
    c.learning_rate = 5e-4
    c.plateau.update(steps=500, patience=2, improvement=0.01)
    c.run.update(preview=500, checkpoint=500)
    return c
