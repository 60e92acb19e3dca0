r"""A comb network of 128 rendered puppets: its encoder and mean decoder are the "puppets" of `config.init`.

Costs: 0.55 steps a second on two cores that other work kept busy, 3.4 GiB of memory. What ships has 1,538 steps and 360
more at a lower rate, which took an hour in all.
Expect: on held-out images of the same puppets PSNR 26.0 dB; what moves in eyes and mouth correlates with the truth by
0.78 and 0.67, and by 0.72 and 0.61 after a swap to another persona and back, at 0.7 to 0.8 of its amplitude. Before the
lower rate: 24.3 dB, 0.73, 0.63, 0.65, 0.54. It still gained when it was stopped.
Reproduces: nothing published. What is not of the source: decoders that are a mean one plus what is a persona's own,
orthogonalised momentum (Muon), matched latents, eyes and mouth that count four times in L1, averaged weights, and one
growth level alone. demo.py tells what they bring.

    faceswap puppets --output data --format records --world_seed 1 --personas 128 --tracks 8 --frames 16 --rate 2 \
        --resolution 64
    faceswap train --config experiments/pretraining.py --workdir runs/high --config.data.path=data
    faceswap train --config experiments/pretraining.py --workdir runs/low --config.data.path=data \
        --config.init=runs/high --config.learning_rate=0.006 --config.final_learning_rate=0.0015 \
        --config.level_steps=0,0,0,0,280 --config.final_steps=80 --config.average=0.98

A file of what its personas have in common, as float16, is made by

    python -c "from pathlib import Path; from faceswap_jax.tasks.autoencoder_start import save_start;
    save_start(Path('runs/low'), Path('puppets.safetensors'))"
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
    c.learning_rate = 0.02
    # A persona's own weights learn from few images, and every update has the same length.
    c.persona_rate = 0.3
    c.final_learning_rate = 0.002
    c.average = 0.995
    c.loss.update(l1=1.0, parts=4.0, matching=0.03)
    c.mesh.cpu_devices = 2
    c.run.update(log=20, preview=500, checkpoint=250)
    return c
