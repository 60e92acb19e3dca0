r"""Part encoders and a mean decoder of 128 rendered puppets: the "puppets" of `config.init`.

Costs: 0.8 steps a second on two cores, 4.2 GiB of memory; seven hours for all steps. What ships took three hours and a
quarter in all, as told below.
Expect: on held-out performances of the same puppets PSNR 27.9 dB; what moves in eyes and mouth correlates with the
truth by 0.81 and 0.62, and by 0.78 and 0.60 in swaps to another persona, at 0.83 and 0.68 of its amplitude. It still
gained when it was stopped.
Reproduces: the part encoders of US 12,277,738. What is not of the source: decoders that are a mean one plus what is a
persona's own, orthogonalised momentum (Muon), matched latents, latents that tell the expression (losses/expression.py),
a closer look at eyes and mouth, which also count four times in L1, averaged weights, one growth level alone, and
puppets who perform together, so that swaps have a truth.

    faceswap puppets --output data --format records --world_seed 1 --personas 128 --tracks 24 --frames 8 --rate 2 \
        --resolution 64 --together 8
    faceswap train --config experiments/pretraining.py --workdir runs/puppets --config.data.path=data

Why parts: what can be read linearly from the latents of puppets never seen, correlations with the truth
(python -m experiments.benchmarks.latents):

                                                   gaze x  gaze y  lids  brow  frown  mouth  smile  pucker
    one encoder of the whole face, 4,758 steps      0.68    0.10   0.85  0.57   0.06   0.76   0.20    0.05
    part encoders that learn to tell them           0.78    0.66   0.94  0.88   0.63   0.96   0.87    0.60

As it was made: the encoder of what remains and the decoders began as those of a comb network, trained for 4,758 steps
without parts, `expression` and `details`. Parts joined it: 1,664 steps without `details`, then 700 at 0.01 and 250 at
0.0015 with the values below. The two lines above differ in all of this; how much each part of it is worth by itself,
is not measured.

A file of what its personas have in common, kernels as float16, is written by `save_start(workdir, path)` of
faceswap_jax/tasks/autoencoder_start.py.
"""

import ml_collections

from experiments import parts


def get_config() -> ml_collections.ConfigDict:
    """Part encoders, small, and what makes them learn in hours."""
    c = parts.get_config()
    c.data.mirror = True
    c.data.together = True
    # Landmarks of real clips are not exact.
    c.data.jitter.update(rotation=3.0, scale=0.04, shift=0.015)

    # Wide where images are small, narrow where they are large: most of the time goes into the last level.
    c.model.update(channels=(96, 96, 96, 64, 16), latent=128, mean_decoder=True)
    # Parts are seen in 32 px.
    c.model.update(part_channels=(64, 64, 48, 24), part_latent=48)

    # As many steps as there is time for
    c.level_steps = (0, 0, 0, 0, 20_000)
    c.final_steps = 400
    c.batch = 4
    c.personas_per_step = 8
    c.optimizer = "muon"
    c.learning_rate = 0.01
    # A persona's own weights learn from few images, and every update has the same length.
    c.persona_rate = 0.3
    c.final_learning_rate = 0.0015
    c.average = 0.99
    c.loss.update(l1=1.0, parts=4.0, details=1.0, matching=0.03, expression=0.2)
    c.mesh.cpu_devices = 2
    c.run.update(log=20, preview=500, checkpoint=250)
    return c
