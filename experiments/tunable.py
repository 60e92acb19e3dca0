"""Part encoders and the tunable decoder, at the published sizes (US 12,277,738): one decoder for all personas.

Costs: not measured at this size. The decoder has as many kernels as one of comb.py's, 23 M numbers, and each persona
adds 10,176 numbers, or its code of 32; in comb.py each adds 11.8 M.
Expect: not measured, nor has the small variant, tunable_puppets.py, been trained.
Reproduces: encoders of eyes, mouth and the remainder; a decoder whose convolutions AdaIN tunes to the persona, with
coefficients of each persona's own (tuning=persona), or from a persona's code by dense layers that all share
(tuning=code), which may make the kernels of the smallest levels (tuning=weights); mixes of personas. Losses, channels
and growth are those of comb.py. Choices: the dense layers are single and affine; level 0 is not normalised; the images
are not either, but come from features by weights that all share.

    faceswap prepare alice.mp4 bob.mp4 --output data --resolution 1024
    faceswap train --config experiments/tunable.py --workdir runs/tunable --config.data.path=data
    faceswap swap bob.mp4 --workdir runs/tunable --persona alice:0.7,bob:0.3 --output mixed.mp4
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
