"""The verb `edit`: a persona's face in a picture or a clip, with a changed performance."""

from collections.abc import Mapping
from pathlib import Path

from faceswap_jax import config as configs
from faceswap_jax.editing import keyframes
from faceswap_jax.editing.edits import Edits
from faceswap_jax.inference.audience import tell
from faceswap_jax.inference.clip import AS_TOLD, Coding, Count, check_output
from faceswap_jax.swap import swap


def edit(
    workdir: Path,
    persona: str | None,
    source: Path,
    output: Path,
    changes: Path | Mapping[str, float],
    only_changes: bool = False,
    coding: Coding = AS_TOLD,
    **options,
) -> Count:
    """Does what `swap` does, and changes what the faces do.

    Args:
        workdir: folder of a trained run, or of an artifact, in which the vectors lie.
        persona: whose face is shown; the performer's own for an edit of nothing but the performance.
        source: picture or clip of the performers.
        output: picture or clip to write.
        changes: a file of keyframes, or the weights of vectors, by name, that stay.
        only_changes: keeps the performer's own face where nothing is changed; `persona` is then the performer's own.
        coding: as for `swap`.
        **options: other arguments of `swap`.

    Raises:
        InputError: as `swap`; or the keyframes make no sense, or the run has no such vector, or one of other weights.
            Nothing is written then.
    """
    check_output(source, output, coding=coding)
    # Whether it is a run
    configs.load(workdir / "config.json")
    curves = _curves(changes, source)
    edits = Edits.load(curves, workdir, only_changes)

    largest = keyframes.largest(curves)
    if largest > keyframes.USUAL:
        tell(f"The largest weight is {largest:g}; beyond {keyframes.USUAL:g} faces may break.")
    return swap(workdir, persona, source, output, edits=edits, coding=coding, **options)


def _curves(changes: Path | Mapping[str, float], source: Path) -> list[keyframes.Curve]:
    if isinstance(changes, Path):
        return keyframes.read(changes, source)
    return keyframes.constant(changes)
