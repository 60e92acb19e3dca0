r"""A comb network of 128 rendered puppets: its encoder and mean decoder are the "puppets" of `config.init`.

Costs: 0.8 steps a second on two cores, 3.4 GiB of memory; seven hours for all steps. What ships took two hours in all,
as told below.
Expect: on held-out performances of the same puppets PSNR 26.5 dB; what moves in eyes and mouth correlates with the
truth by 0.74 and 0.60, and by 0.70 and 0.55 in swaps to another persona, at 0.6 to 0.8 of its amplitude. It still
gained when it was stopped.
Reproduces: nothing published. What is not of the source: decoders that are a mean one plus what is a persona's own,
orthogonalised momentum (Muon), matched latents, eyes and mouth that count four times in L1, averaged weights, one
growth level alone, and puppets who perform together, so that swaps have a truth.

    faceswap puppets --output data --format records --world_seed 1 --personas 128 --tracks 24 --frames 8 --rate 2 \
        --resolution 64 --together 8
    faceswap train --config experiments/pretraining.py --workdir runs/puppets --config.data.path=data

As it was made: 2,649 steps on puppets who each performed alone, at rates of 0.02 to 0.0015, gave swaps of them
correlations of 0.62 and 0.42. 1,309 steps together at 0.02, then 800 with the values below did the rest. Together, a
rate of 0.02 for all weights kept the correlations of swaps at 0.65 and 0.48; 200 steps at 0.01, with 0.003 for what is
a persona's own, brought them to 0.68 and 0.53.

A file of what its personas have in common, as float16, is written by `save_start(workdir, path)` of
faceswap_jax/tasks/autoencoder_start.py.
"""

import ml_collections

from experiments import comb


def get_config() -> ml_collections.ConfigDict:
    """The published network but for its size, and what makes it learn in hours."""
    c = comb.get_config()
    c.data.mirror = True
    c.data.together = True
    # Landmarks of real clips are not exact.
    c.data.jitter.update(rotation=3.0, scale=0.04, shift=0.015)

    # Wide where images are small, narrow where they are large: most of the time goes into the last level.
    c.model.update(channels=(96, 96, 96, 64, 16), latent=128, mean_decoder=True)

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
    c.loss.update(l1=1.0, parts=4.0, matching=0.03)
    c.mesh.cpu_devices = 2
    c.run.update(log=20, preview=500, checkpoint=250)
    return c
