"""The comb network with part encoders, at the published sizes (US 12,277,738): eyes, mouth and what remains.

Costs: as comb.py, whose decoders it has; not measured. pretraining.py, demo.py and comb_cpu.py are small variants.
Expect: not measured at this size. The small ones follow gaze, brows and mouth where one encoder of the whole face does
not; pretraining.py has the comparison.
Reproduces: four encoders with latents of 128 each, one after the other, before P decoders; all else as comb.py, but for
level 0 (4 px), which is left out.

    faceswap prepare alice.mp4 bob.mp4 --output data --resolution 1024
    faceswap train --config experiments/parts.py --workdir runs/parts --config.data.path=data
"""

import ml_collections

from experiments import comb


def get_config() -> ml_collections.ConfigDict:
    """The comb network but for its encoder."""
    c = comb.get_config()
    c.model.network = "parts"
    c.model.latent = 128  # of what remains
    # In the order of their latents; "eyes" is one encoder for both
    c.model.parts = ("left_eye", "right_eye", "mouth")
    c.model.part_latent = 128  # of each part
    c.model.part_channels = ()  # of a part's levels, one fewer than the face's; as `channels`
    # Faces of 4 px have no parts.
    c.level_steps = (0, *c.level_steps[1:])
    return c
