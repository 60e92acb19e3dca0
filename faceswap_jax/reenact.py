"""The verb `reenact`: somebody in whole images of a generator's own, driven by a clip."""

from collections.abc import Sequence
from pathlib import Path

from faceswap_jax.errors import InputError
from faceswap_jax.inference.clip import Count, check_output, reenact_clip
from faceswap_jax.inference.trained import load
from faceswap_jax.inference.who import who_is


def reenact(
    workdir: Path,
    persona: str | None,
    driving: Path,
    output: Path,
    step: int | None = None,
    pictures: Sequence[Path] = (),
) -> Count:
    """Lets somebody act as the largest face of a picture or a clip does.

    Args:
        workdir: folder of a trained run.
        persona: one of its personas; None if `pictures` show whom.
        driving: picture or clip of the performer.
        output: picture, or H.264 clip with the driving clip's frame rate and sound, of the generator's resolution.
        step: which checkpoint to use, by its number of steps; the newest if not given.
        pictures: pictures or clips of the person to show, if the run knows no personas by name.

    Raises:
        InputError: any of these cannot be used, or no frame shows a face. Nothing is written then.
    """
    check_output(driving, output)
    generator = load(workdir, step)
    if generator.placement != "whole":
        raise InputError(
            f"'{workdir}' makes faces that are blended into a clip; use 'faceswap swap'."
        )
    identity = generator.identity(who_is(generator, persona, pictures))
    return reenact_clip(generator, identity, driving, output)
