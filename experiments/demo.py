"""Part encoders and the decoders of three rendered puppets, for two CPU cores: the experiment of `faceswap demo`.

Costs: 350 steps, 2.2 minutes on two quiet cores, up to 3.7 on others.
Expect: PSNR of swaps within 1.5 dB of what a perfect network would have, and the right persona in every frame with
--blend none. Eyes, lids and the shape of the mouth follow (correlations of 0.85, 0.81 and 0.64), brows less (0.57);
faces are soft, and irises pale. The README has the table.
Reproduces: swaps between all personas, from weights that 128 other puppets have taught (pretraining.py).

    faceswap demo --output build/demo

What the start and the closer look at eyes and mouth are worth, on the clips of the demo, 350 steps, one seed, --blend
none; errors of gaze in degrees, of lids, brows and mouth in %, then correlations and sharpness:

                                                  PSNR   gaze  lids  brows  mouth   gaze  lids  brows  mouth  sharpness
    one encoder, 4,758 steps of start            16.5 dB  21.0  24.0   23.3   26.3   0.72  0.64   0.42   0.59    0.71
    part encoders, 1,000 steps of start          16.5     19.0  21.8   16.9   25.3   0.75  0.72   0.58   0.61    0.70
    1,500 steps, a closer look by the demo       16.6     15.0  17.7   18.2   24.9   0.83  0.74   0.54   0.63    0.70
    what ships: 2,614, the last 950 with it      16.7     13.2  13.9   16.5   24.1   0.85  0.81   0.57   0.64    0.71
    the same, looking closer counts three times  16.6     13.2  15.1   16.7   24.1   0.83  0.78   0.56   0.65    0.71
    what ships, 550 steps                        16.7     12.9  15.4   16.9   23.4   0.84  0.79   0.55   0.66    0.73
    ceiling                                      18.0      9.0   9.9   15.3   16.8   0.89  0.91   0.70   0.82    0.86

So longer training of the three brings mouths a point nearer, and takes lids as far away. In performances never seen
their own mouths move with the truth by 0.64; after the start those of the 128 do by 0.62.

What each value is worth by itself, in two minutes of training from nothing on other clips of the same puppets, one
seed, beside light work; errors as above (python -m experiments.benchmarks.levers --minutes 2 --seeds 1):

                                       steps    PSNR      gaze  lids  brows  mouth  sharpness
    these values, from nothing           220   15.3 dB   22.0  26.0   28.0   31.8     0.40
    one encoder for all                  342   15.4 dB   23.4  25.7   28.5   32.2     0.37
    no loss.expression                   257   15.2 dB   22.3  23.2   27.3   34.0     0.39
    no loss.details                      245   15.5 dB   25.0  24.4   27.0   34.4     0.35
    no loss.matching                     227   15.2 dB   22.6  25.2   29.0   32.6     0.38
    Adam at 0.001 for Muon at 0.02       334   15.4 dB   21.9  29.0   27.7   31.8     0.39
    Adam at 0.003                        297    8.7 dB   26.2  34.9   38.6   33.0     0.12
    Muon at 0.01                         227   15.5 dB   22.1  24.0   24.5   30.0     0.42
    grown from 16 px                     279   15.2 dB   22.2  24.1   27.1   32.6     0.40
    warped input                         245   15.2 dB   20.3  24.3   30.0   33.3     0.44
    these values, from `puppets`         200   16.5 dB   15.0  13.4   22.7   25.9     0.64
    ceiling                                    18.1        8.4  11.1   20.2   16.6     0.88

Two minutes are too few to tell most of them apart: PSNR is within 0.4 dB, the mouth within 4 %. What stands out is the
start, and that Adam must not go faster than 0.001. Looking closer at eyes and mouth makes them sharper, and takes a
tenth of the steps.

In five minutes, on a machine that does three quarters more steps in a minute; with ±, means of two seeds and half of
what they are apart (--minutes 5 --only "demo.py from nothing,..."):

                                       steps    PSNR         gaze        lids        brows       mouth       sharpness
    these values, from nothing           968   15.6 ± 0.0   19.2 ± 0.3  20.2 ± 1.3  26.3 ± 0.2  28.4 ± 0.1     0.47
    these values, from `puppets`         961   16.6 ± 0.0   12.8 ± 0.1  14.6 ± 0.5  21.9 ± 0.3  22.5 ± 0.0     0.66
    one encoder for all                1,366   15.8 ± 0.0   20.6 ± 1.4   17.3 ± 0.4   24.7 ± 0.4   31.0 ± 0.1      0.53
    Adam at 0.001 for Muon at 0.02     1,481   15.7 ± 0.1   19.9 ± 0.4   18.6 ± 0.9   26.4 ± 0.2   28.8 ± 1.1      0.49
    grown from 16 px                   1,168   14.4 ± 1.3   20.1 ± 0.0   23.6 ± 2.4   27.2 ± 2.8   28.5 ± 1.0      0.41

The start is worth 1 dB, and 6 points of mouth, gaze and lids. From nothing, Adam makes up for its slower learning by
steps that take two thirds of the time; one encoder for all has better lids and worse mouths. Grown from 16 px, one seed
lost 2.5 dB and a third of the identities in its last level, where swaps began to hand on the looks of who performs; the
other one is as good as what is not grown.

Tried in as little time, one seed, and not built in for want of a gain: faces sampled so that rare gazes, lids, mouths
and turns come as often as usual ones (from nothing: PSNR as before, gaze 1.6 degrees worse, mouth 1.6 % better); a
critic of 22 px patches in the last third (from `puppets`: PSNR and sharpness within 0.02); the oracle's reading of
swaps as a loss in the last third (from nothing, by 0.3: gaze and lids 2.6 degrees and 3.2 % better as the same oracle
reads them, PSNR as before, 4 % fewer identities found; by 1: 30 % fewer); an adversary that guesses the persona from
the latents (from nothing it won at 0.05: faces stopped moving, gaze is off by 27 degrees; from `puppets` all scores are
within 1.2 of those without).

What is left of gaze's error is larger up and down (8 degrees off in the mean, 9 of spread) than sideways (3 and 8). The
oracle reads eyes upwards whose irises are pale: the ceiling's, too, by 6 to 9 degrees on two of the three.
"""

import ml_collections

from experiments import pretraining


def get_config() -> ml_collections.ConfigDict:
    """The values of the pretraining, at half its rate."""
    c = pretraining.get_config()
    c.init = "puppets"
    # New decoders first learn to follow an encoder that treats all faces alike.
    c.freeze.update(steps=170, modules="encoder")
    c.data.together = False
    c.persona_rate = 1.0
    c.level_steps = (0, 0, 0, 0, 260)
    c.final_steps = 90
    c.batch = 4
    c.personas_per_step = None
    c.learning_rate = 0.005
    c.final_learning_rate = 0.001
    c.average = 0.95
    c.data.jitter.update(rotation=0.0, scale=0.0, shift=0.0)
    c.run.update(log=20, preview=350, checkpoint=175)
    return c
