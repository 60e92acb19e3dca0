"""The comb network on three rendered puppets, small enough for two CPU cores: the experiment of `faceswap demo`.

Costs: 440 steps, about three minutes on two cores.
Expect: PSNR of swaps within 2 dB of what a perfect network would have, the right persona in 98 % of the frames with
--blend none; gaze, lids and mouth follow (correlations of 0.5 to 0.7), a little softly. The README has the table.
Reproduces: swaps between all personas, from weights that 128 other puppets have taught (pretraining.py).

    faceswap demo --output build/demo

What the start and its rates are worth, on the clips of the demo, 440 steps, one seed, --blend none:

                                                          PSNR    identity   gaze    lids    mouth   sharpness
    learning rate 0.01, final 0.002                      16.3 dB    99 %     20.5 deg  24 %    29 %    68 %
    learning rate 0.004, final 0.001                     16.2       98       19.3      21      27      69
    0.01, encoder and tied levels frozen                 16.0       97       18.6      20      28      71
    0.01, 260 steps, weights of 1,000 steps of training  16.1       99       21.5      27      30      62
    0.01, 120 steps, weights of 250 steps of training    15.6       99       22.9      32      35      49
    ceiling                                              18.0      100       13.4      12      18      86

So what the encoder has learned before counts most: the longer that training, the better gaze, lids and mouth.
"""

import ml_collections

from experiments import pretraining


def get_config() -> ml_collections.ConfigDict:
    """The values of the pretraining, at a quarter of its rate."""
    c = pretraining.get_config()
    c.init = "puppets"
    c.data.together = False
    c.level_steps = (0, 0, 0, 0, 330)
    c.final_steps = 110
    c.batch = 4
    c.personas_per_step = None
    c.learning_rate = 0.005
    c.final_learning_rate = 0.001
    c.average = 0.95
    c.data.jitter.update(rotation=0.0, scale=0.0, shift=0.0)
    c.run.update(log=20, preview=440, checkpoint=220)
    return c
