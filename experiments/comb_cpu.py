"""Part encoders and personas' decoders at 64 px, small enough to see real clips swapped on a desk's CPU.

Costs: 2,400 steps; with six people, 24 images a step, 43 minutes on two cores that other work kept busy for half of
that, and 2.5 GiB of memory.
Expect, on the last 2.5 seconds of six real clips, of which 0.6 to 31 seconds were trained on: reconstructions of 36
dB, whose eyes and mouths move with the truth by 0.93 and 0.86. Of 30 swaps, --blend none, correlations of MediaPipe's
blendshapes with the performer's, and how much they move for the performer's 1; the ceiling is the performer's own face
at 64 px (faceswap evaluate --workdir runs/cpu --data held_out --blend none):

                                       jaw    mouth    lids    gaze    brows
    swap              correlation     0.61     0.45    0.80    0.72     0.42
                      amplitude       0.76     0.76    1.00    0.84     0.79
    from nothing      correlation     0.52     0.42    0.30    0.15     0.27
                      amplitude       0.81     0.74    0.70    0.68     0.83
    ceiling           correlation     0.99     0.94    0.95    0.91     0.87

So it is the network, not its resolution, that misses jaws, mouths and brows. Jaws that move much are followed, by 0.84
to 0.94 in three of the six clips; those that hardly move are not. SFace finds 0.53 of the persona and 0.30 of the
performer; from nothing 0.52 and 0.29. Pixels flicker 1.4 times as much as the clip's, from nothing 1.5, the ceiling
1.05. That is no jitter: latents or landmarks averaged over three and five frames leave it as it is. It is faces that
move otherwise than the performer's head does, most where the head moves fast. To look at: people are recognised, gaze,
lids and smiles follow; the persona of 16 frames, none of them with an open mouth, hardly opens it; faces are soft. From
nothing is with --config.init='' --config.freeze.steps=0, rates of 0.02 and 0.002, and as many steps. Reconstructions
have 33 dB then, and their eyes move with the truth by 0.20.

What a face does and whose it is are bought from each other. What all share carries the expression, also where a persona
has never shown it; but it hands on the performer's looks, too. A persona's own weights learn its looks, and that its
mouth never opened. More steps favour these, and so does config.persona_rate, how fast they learn. Swaps of three of the
clips, one seed, --blend none; SFace's cosine to the persona and to the performer, error of pitch in degrees,
correlations:

    persona_rate                       SFace       pitch   jaw   mouth  lids   gaze   brows
    1, 2,400 steps                     0.52 0.29    5.3    0.93   0.55  0.65   0.73   0.23
    0.3, 2,400 steps                   0.47 0.34    4.1    0.92   0.61  0.69   0.73   0.39
    1, 500 steps                       0.41 0.35    3.1    0.94   0.61  0.73   0.70   0.50
    0.3, 500 steps                     0.33 0.44    2.5    0.94   0.67  0.85   0.77   0.64
    0.1, 500 steps                     0.21 0.60    2.6    0.96   0.70  0.91   0.72   0.70
    0.1, 765 steps                     0.24 0.57    2.6    0.96   0.73  0.93   0.77   0.71
    1 for 200 steps with the encoder
    held still, then 0.1 for 300       0.34 0.41    2.8    0.93   0.60  0.77   0.76   0.60
    1, 500 steps, a loss of what the
    encoder reads of swaps, by 0.2     0.28 0.43    3.0    0.97   0.65  0.68   0.74   0.61

The last row is of a loss that is not built in: it moves along the same line; 0.3 alone is better but for the jaw. To
look at: after 500 steps people are recognised and jaws, lids and brows follow, faces are soft; after 2,400 they are
sharper and themselves, and move less. The default is for who it is; stop at 500 steps for what it does
(--config.level_steps="(0,0,0,0,400)" --config.final_steps=100, a quarter of the time). Nothing that was tried breaks
the line; a loss of identity on swaps (loss.identity, with weights of one's own) was not tried on real people.
In the demo's few steps 0.3 changes no score by more than one run differs from another.
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
