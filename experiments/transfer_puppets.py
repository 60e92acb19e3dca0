"""Transfer on rendered puppets, at 64 px: puppets that it has never seen, driven by others.

Costs: not measured yet; by adding up some 80 GFLOP a step, most of them of inverting who is shown.
Expect: not measured yet.
Reproduces: experiments/transfer.py, small.

    faceswap train --config experiments/expression.py --workdir runs/expression --config.data.path=data
    faceswap train --config experiments/transfer_puppets.py --workdir runs/transfer --config.data.path=data

after the trainings of experiments/inversion_puppets.py, which also says what the data are: all hold the same tenth of
the people out. A run that was stopped goes on by the same command.
"""

import ml_collections

from experiments import inversion_puppets, transfer


def get_config() -> ml_collections.ConfigDict:
    """The motion encoder is as large as the inversion's."""
    c = transfer.get_config()
    c.alignment = "eyes"
    c.networks.expression = "runs/expression"
    c.data.test = 32
    smaller = inversion_puppets.get_config().model
    c.model.update(blocks=smaller.blocks, channels=smaller.channels, stem=smaller.stem)
    c.steps = 10_000
    c.learning_rate = 2e-4
    c.mesh.cpu_devices = 1
    c.run.update(preview=500, checkpoint=500)
    return c
