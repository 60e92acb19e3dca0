"""Part encoders and the tunable decoder, at the published sizes (US 12,277,738): one decoder for all personas.

Costs: not measured at this size. The decoder has as many kernels as one of comb.py's, 23 M numbers, and each persona
adds 10,176 numbers, or its code of 32; in comb.py each adds 11.8 M.
Expect: not measured at this size; tunable_puppets.py tells what a few steps of a small one gave.
Reproduces: encoders of eyes, mouth and the remainder; a decoder whose convolutions AdaIN tunes to the persona, with
coefficients of each persona's own (tuning=persona), or from a persona's code by dense layers that all share
(tuning=code), which may make the kernels of the smallest levels (tuning=weights); mixes of personas. Losses, channels
and growth are those of comb.py. Choices: the dense layers are single and affine; level 0 is not normalised; the images
are not either, but come from features by weights that all share.

    faceswap prepare alice.mp4 bob.mp4 --output data --resolution 1024
    faceswap train --config experiments/tunable.py --workdir runs/tunable --config.data.path=data
    faceswap swap bob.mp4 --workdir runs/tunable --persona alice:0.7,bob:0.3 --output mixed.mp4

What one decoder saves is weights, their moments and checkpoints. Activations and time grow with the images of a step,
as with P decoders, and the normalisation adds to both; where there are very many personas, set personas_per_step. At
64 px, width 1/8, four images of each persona, encoders of the whole face, on one device of a busy machine with two
cores; steps in seconds of both cores together, the faster one of two; state is weights, moments and the batch
(python -m experiments.benchmarks.personas --networks tunable,code,weights,comb --axes 1 --steps 2):

                             personas         2         8        32       128
    P decoders        weights             1.80 M    2.85 M    7.06 M    23.9 M
                      state               21 MiB        34        84       288
                      work                92 MiB       336     1,322     5,200
                      step              0.27 s        1.04      4.52         -
    tuning=persona    weights             1.62 M    1.63 M    1.66 M    1.77 M
                      state               19 MiB        20        23        35
                      work               101 MiB       379     1,821     7,404
                      step              0.31 s        1.17      5.31      26.4
    tuning=code       weights             1.66 M    1.66 M    1.66 M    1.66 M
                      state               19 MiB        20        23        34
                      work               101 MiB       379     1,816     6,922
                      step              0.29 s        1.15      5.42      28.4
    tuning=weights    weights             19.6 M    19.6 M    19.6 M    19.6 M
                      state              225 MiB       225       228       239
                      work               228 MiB       501     1,959     7,352
                      step              0.50 s        1.40      6.09      28.8

Not measured where there is a dash; for 128 personas, work of P decoders is from comb.py's card, and the columns of code
and weights are of another machine. Compiling for 128 personas took 59 s (code), 314 s (weights) and 400 s (persona, on
the busy machine): it grows with the images, for gradients of narrow kernels are unrolled over parts of the batch
(ops/convolution.py).
"""

import ml_collections

from experiments import parts


def get_config() -> ml_collections.ConfigDict:
    """The network with part encoders but for its decoder."""
    c = parts.get_config()
    c.model.network = "tunable"
    # As of parts.py; none: one encoder of the whole face, --config.model.parts="()" --config.model.latent=512
    c.model.parts = ("left_eye", "right_eye", "mouth")
    # How the decoder is tuned to personas: "persona": coefficients of each; "code": by dense layers from a code of
    # each; "weights": the same, and kernels at the smallest levels
    c.model.tuning = "persona"
    c.model.code = 32  # length of a persona's code
    c.model.made = 1  # levels whose kernels the dense layers make, for "weights": 1 to 3
    # There is one decoder for all.
    del c.model.mean_decoder
    return c
