r"""Part encoders and the tunable decoder on eight rendered puppets, to set beside comb_puppets.py.

Costs: not measured.
Expect: not measured: nobody has trained it to the end yet. 200 steps up to 32 px on four puppets, with an encoder of
the whole face and batches of four, one seed, gave a held-out PSNR of 22.8 dB (tuning=persona) and 23.0 (tuning=code),
where the comb has 22.9. In swaps that are swapped back, eyes correlate with the performer's by 0.42 and 0.35 (comb
0.34), mouths by 0.68 and 0.64 (0.62). Some swaps keep patches of the performer's skin: one decoder can also learn from
the latent who is shown, and no loss of the source keeps it from that.

How the networks compare on 8 puppets at 64 px, with the values of demo.py, after three minutes each from nothing, one
seed: 12 swaps of unseen performances, --blend none; errors of gaze in degrees, of lids, brows and mouth in % (python -m
experiments.benchmarks.levers --personas 8 --swapped 4 --minutes 3 --seeds 1 --only "demo.py from nothing,one encoder
for all,one decoder for all,one decoder from codes"):

                                             steps    PSNR   identity   gaze  lids  brows  mouth  sharpness
    P decoders, one encoder                   200   16.7 dB     96 %    22.6  20.5   27.8   31.7     0.47
    P decoders, part encoders                 162   16.4        87      18.7  20.0   28.5   30.7     0.43
    one decoder, AdaIN of each persona        198   16.1        69      16.9  16.0   27.5   29.1     0.49
    one decoder, AdaIN from codes             185   16.7        94      16.4  21.0   26.8   30.7     0.46
    ceiling                                         19.0        100       8.6  11.0   19.3   16.4     0.88

One decoder follows the performer at least as well, after as little time, for it learns from everybody. With AdaIN of
each persona it is also the least sure of who is shown; codes keep it apart.

Reproduces: swaps between 56 ordered pairs of personas, on performances that none was trained on, and mixes of personas.

    faceswap puppets --output data --format records --personas 8 --tracks 12 --frames 25 --rate 3 --resolution 64
    faceswap train --config experiments/tunable_puppets.py --workdir runs/tunable --config.data.path=data
    faceswap train --config experiments/tunable_puppets.py --workdir runs/coded --config.data.path=data \
        --config.model.tuning=code
"""

import ml_collections

from experiments import comb_puppets, tunable


def get_config() -> ml_collections.ConfigDict:
    """The values of comb_puppets.py but for the network, whose latent is as long."""
    c = comb_puppets.get_config()
    width = c.model.width
    c.model = tunable.get_config().model
    # Four parts of 32 each
    c.model.update(width=width, latent=32, part_latent=32, code=16)
    return c
