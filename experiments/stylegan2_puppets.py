"""StyleGAN2 on rendered puppets, at 64 px: faces of nobody, for a desk's CPU.

Costs: 0.36 s a step on two CPU cores, so about two hours for all; memory 2.9 GiB. ADA is an eighth of the processor's
time. Without it PyTorch takes 0.96 to 0.99 of our time (python -m experiments.benchmarks.stylegan2_step).
Expect: not measured yet.
Reproduces: experiments/stylegan2.py, small.

    faceswap puppets --output data --format records --world_seed 7 --personas 600 --tracks 4 --frames 4 --rate 1 \
        --resolution 64
    faceswap train --config experiments/identity.py --workdir runs/identity --config.data.path=data
    faceswap train --config experiments/stylegan2_puppets.py --workdir runs/stylegan2 --config.data.path=data

The embedder is what feature distances look with; without, --config.networks.sets="". A run that was stopped goes on by
the same command.
"""

import ml_collections

from experiments import stylegan2


def get_config() -> ml_collections.ConfigDict:
    """24 channels at 64 px, 48 at 32 px, 96 below."""
    c = stylegan2.get_config()
    c.alignment = "eyes"
    c.model.update(resolution=64, latent=128, width=3 / 64, most=2048)
    c.networks.sets = "runs/identity"
    c.data.sets = 16
    c.loss.penalty = 0.0002 * 64**2 / 16
    c.augment.kimg = 100.0
    c.steps = 20_000
    c.batch = 16
    c.learning_rate = 2.5e-3
    c.mesh.cpu_devices = 1
    c.run.update(preview=500, checkpoint=500)
    return c
