"""The verb `invert`: the faces of a picture as a generator's latent space knows them."""

from pathlib import Path

import numpy as np

from faceswap_jax.faces import align
from faceswap_jax.faces.grid import draw_grid
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, write_picture
from faceswap_jax.inference import inverting
from faceswap_jax.inference.audience import tell
from faceswap_jax.inference.clip import check_file
from faceswap_jax.inference.inverting import Inverted
from faceswap_jax.inference.who import faces_of


def invert(model: Path, source: Path, output: Path, step: int | None = None) -> Inverted:
    """Draws the largest face of a picture, or some of a clip, and below it what the generator makes of its latents.

    Args:
        model: folder of a trained run of 'inversion' or 'transfer', or a file of ReStyle's public weights.
        source: picture or clip.
        output: picture to write.
        step: which checkpoint of the run, by its number of steps; the newest if not given.

    Raises:
        InputError: any of these cannot be used, or no face is seen. Nothing is written then.
    """
    check_file(output, sorted(PICTURE_SUFFIXES))
    inverter = inverting.load(model, step)
    crops = []
    for frame, face in faces_of([source]):
        side, alignment = inverter.resolution, inverter.alignment
        crops.append(align.cut_face(frame.image, face.landmarks, side, alignment))
    found = inverter(np.stack(crops))

    grid = np.stack([crops, found.images])
    write_picture(output, draw_grid(grid, ["picture", "inversion"]))
    near = ", ".join(f"{value:.1f}" for value in found.psnr)
    tell(f"{output}: PSNR {near} dB")
    return found
