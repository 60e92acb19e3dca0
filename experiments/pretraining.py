r"""A comb network of 128 rendered puppets: its encoder and mean decoder are the "puppets" of `config.init`.

Costs: STEPS steps of 8 personas x 4 images in HOURS on two busy cores; 3.4 GiB of memory. Any checkpoint serves.
Expect: EXPECT
Reproduces: nothing published. What is not of the source: decoders that are a mean one plus what is a persona's own,
orthogonalised momentum (Muon), matched latents, eyes and mouth that count four times in L1, averaged weights, and one
growth level alone. demo.py tells what they bring.

    faceswap puppets --output data --format records --world_seed 1 --personas 128 --tracks 8 --frames 16 --rate 2 \
        --resolution 64
    faceswap train --config experiments/pretraining.py --workdir runs/pretraining --config.data.path=data

A file of what its personas have in common, as float16, is made by

    python -c "from pathlib import Path; from faceswap_jax.tasks.autoencoder_start import save_start;
    save_start(Path('runs/pretraining'), Path('puppets.safetensors'))"
"""

import ml_collections

from experiments import comb


def get_config() -> ml_collections.ConfigDict:
    """The published network but for its size, and what makes it learn in hours."""
    c = comb.get_config()
    c.data.mirror = True
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
    c.final_learning_rate = 0.002
    c.average = 0.995
    c.loss.update(l1=1.0, parts=4.0, matching=0.03)
    c.mesh.cpu_devices = 2
    c.run.update(log=20, preview=500, checkpoint=250)
    return c
