"""The verb `swap`: one persona's face in a picture or a clip."""

from collections.abc import Sequence
from pathlib import Path

from faceswap_jax.errors import InputError
from faceswap_jax.faces import blend
from faceswap_jax.inference.clip import Count, check_output, swap_clip
from faceswap_jax.inference.trained import load
from faceswap_jax.inference.who import who_is


def swap(
    workdir: Path,
    persona: str | None,
    source: Path,
    output: Path,
    method: str = blend.DEFAULT_METHOD,
    step: int | None = None,
    pictures: Sequence[Path] = (),
) -> Count:
    """Gives somebody's face to the largest face of a picture, or of every frame of a clip.

    Args:
        workdir: folder of a trained run.
        persona: one of its personas; None if `pictures` show whom.
        source: picture or clip of the performer.
        output: picture, or H.264 clip with the source's frame rate and sound.
        method: of blending, see `faces.blend.blend`.
        step: which checkpoint to use, by its number of steps; the newest if not given.
        pictures: pictures or clips of the person to show, if the run knows no personas by name.

    Raises:
        InputError: any of these cannot be used, or no frame shows a face. Nothing is written then.
    """
    blend.check_method(method)
    check_output(source, output)
    generator = load(workdir, step)
    if generator.placement != "blended":
        raise InputError(
            f"'{workdir}' makes whole images, which are not blended into a clip; use 'faceswap "
            "reenact'."
        )
    identity = generator.identity(who_is(generator, persona, pictures))
    return swap_clip(generator, identity, source, output, method)
