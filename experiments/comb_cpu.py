"""Part encoders and personas' decoders at 64 px, small enough to see real clips swapped on a desk's CPU.

Costs: 2,400 steps; 24 images a step with six people. Their time is not measured.
Expect: not measured yet with these values.
Reproduces: nothing published; it shows the way of the full system on real faces. It begins with what 128 rendered
people have taught (pretraining.py), whose encoder is held still for the first steps, as in demo.py.

    faceswap prepare clips/*.mp4 --output data --resolution 128
    faceswap train --config experiments/comb_cpu.py --workdir runs/cpu --config.data.path=data
"""

import ml_collections

from experiments import demo


def get_config() -> ml_collections.ConfigDict:
    """The demo's values with more steps."""
    c = demo.get_config()
    # Moles and partings have sides.
    c.data.mirror = False
    c.data.jitter.update(rotation=3.0, scale=0.04, shift=0.015)
    c.level_steps = (0, 0, 0, 0, 2000)
    c.final_steps = 400
    c.average = 0.99
    c.run.update(preview=500, checkpoint=500)
    return c
