"""Part encoders and personas' decoders at 64 px, small enough to see real clips swapped on a desk's CPU.

Costs: 2,400 steps; with six people, 24 images a step, 43 minutes on two cores that other work kept busy for half of
that, and 2.5 GiB of memory.
Expect, on the last 2.5 seconds of six real clips, of which 0.6 to 31 seconds were trained on: reconstructions of 36
dB, whose eyes and mouths move with the truth by 0.93 and 0.86. Of 30 swaps, --blend none, MediaPipe's blendshapes
follow the performer's by 0.72 (gaze), 0.74 (lids), 0.58 (jaw), 0.45 (mouth) and 0.43 (brows), at 0.84 of the motion
of the gaze and 0.79 of that of the brows. Where the performer's jaw moves at all, in three of the six clips, it
follows by 0.84 to 0.94; where it rests, what is read is noise. SFace finds 0.53 of the persona and 0.30 of the
performer. Pixels flicker 1.4 times as much as the clip's. To look at: people are recognised, gaze, lids and smiles
follow; the persona of 16 frames, none of them with an open mouth, hardly opens it; faces are soft.
From nothing (--config.init='' --config.freeze.steps=0, rates of 0.02 and 0.002), as many steps give as good a likeness
(SFace 0.52 and 0.29), and faces that follow far less: gaze 0.16, lids 0.26, jaw 0.43, mouth 0.42, brows 0.27.
Reconstructions have 33 dB, and their eyes move with the truth by 0.20; the flicker is 1.5.
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
