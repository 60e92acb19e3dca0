"""The verb `vector`: makes an adjustment vector from faces that show a trait and faces that do not."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from faceswap_jax.editing.keys import Keys, shared
from faceswap_jax.editing.vectors import METHODS, Vector, path_of, where
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, blend
from faceswap_jax.faces.grid import draw_grid
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.faces.pose import head_pose
from faceswap_jax.files import make_folder
from faceswap_jax.inference.audience import tell
from faceswap_jax.inference.batching import Performance, generate, latents
from faceswap_jax.inference.clip import blend_side, put_face
from faceswap_jax.inference.generator import Edit, Generator, Who
from faceswap_jax.inference.trained import load

SHOWN = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Weights in the picture of a vector."""

COLUMNS = [f"{weight:+g}" if weight else "0" for weight in SHOWN]

PERSONAS = 4
"""Personas in it, at most."""

KNOWN = (0.02, 0.98)
"""Of the key faces, those of the least and of the greatest amount that an edit may come to."""

SIDE = 128
"""Of its faces, pixels."""


def vector(
    workdir: Path,
    name: str,
    sides: Callable[[], tuple[Keys, Keys]],
    parts: Sequence[str] = (),
    method: str = "mean",
    step: int | None = None,
) -> Vector:
    """Makes an adjustment vector, and a picture of what it does beside it, in the folder of a run.

    Args:
        workdir: folder of a trained run.
        name: what to call the vector; one of that name is replaced.
        sides: finds faces that show the trait, and faces that do not, or show the opposite. It may take its time, and
            is called when all else is known to be right.
        parts: of the latents that it may change; all by default.
        method: "mean", the difference of the two sides' means, or "pca", the first principal component.
        step: of the checkpoint to use, by its number of steps; the newest if not given.

    Raises:
        InputError: any of these cannot be used. Nothing is written then.
    """
    path = path_of(workdir, name)
    if method not in METHODS:
        raise InputError(f"There is no method '{method}'; choose one of {', '.join(METHODS)}.")
    generator = load(workdir, step)
    where(parts, generator)

    positive, negative = shared(*sides())
    made = make(generator, name, positive, negative, parts, method)
    face = _frontal(positive, negative)
    names = generator.personas[:PERSONAS]
    rows = [shown(generator, made, name, face) for name in names]
    drawn = draw_grid(np.array(rows), [f"as {name}" for name in names], COLUMNS)

    make_folder(path.parent)
    picture = path.with_suffix(".png")
    write_picture(picture, drawn)
    made.save(workdir)
    tell(
        f"{path}: from {len(positive.keys)} positive and {len(negative.keys)} negative faces; {picture} shows it"
    )
    return made


def make(
    generator: Generator,
    name: str,
    positive: Keys,
    negative: Keys,
    parts: Sequence[str] = (),
    method: str = "mean",
) -> Vector:
    """The vector from the latents of some key faces to those of others; arguments as of `vector`.

    Raises:
        InputError: the generator has no such part, or the vector does nothing.
    """
    parts = list(parts or generator.parts)
    inside = where(parts, generator)
    # Without the other parts, which would lead the first component astray
    z = positive.latents(generator) * inside, negative.latents(generator) * inside
    # Exactly none of them: the decomposition rounds.
    values = METHODS[method](*z, (positive.groups, negative.groups)) * inside
    if not values.any():
        raise InputError(f"Both sides of '{name}' look the same to the model; choose other faces.")
    amounts = np.concatenate(z) @ values / (values @ values)
    return Vector(
        name=name,
        trait=f"{positive.trait} against {negative.trait}",
        parts=parts,
        method=method,
        step=generator.step,
        digest=generator.digest,
        positive=positive.keys,
        negative=negative.keys,
        values=np.float32(values).tolist(),
        reach=tuple(np.quantile(amounts, KNOWN).tolist()),
    )


def shown(
    generator: Generator,
    made: Vector,
    persona: str,
    face: Performance,
    outline: str | None = None,
) -> UInt8[np.ndarray, "weights h w 3"]:
    """A persona with the performance of one face, edited by each weight of `SHOWN`; `outline` as of a swap."""
    identity = generator.identity(Who({persona: 1.0}))
    repeated = Performance([*face.frames] * len(SHOWN), [*face.faces] * len(SHOWN))
    weights = made.possible(latents(generator, repeated), np.array(SHOWN))
    edit = Edit(np.float32(weights[:, None] * made.values))
    images = generate(generator, identity, repeated, edit)

    (frame,), (found,) = face.frames, face.faces
    side = blend_side([found.landmarks], generator.alignment, generator.resolution)
    cells = []
    for image in images:
        blended = put_face(
            frame.image,
            image,
            found.landmarks,
            generator.alignment,
            side,
            blend.DEFAULT_METHOD,
            outline or generator.outline,
        )
        cells.append(align.cut_face(blended, found.landmarks, SIDE, "box"))
    return np.stack(cells)


def _frontal(positive: Keys, negative: Keys) -> Performance:
    """Of all key faces the one that looks to the front."""
    frames = [*positive.performance.frames, *negative.performance.frames]
    faces = [*positive.performance.faces, *negative.performance.faces]
    turned = [np.abs(head_pose(face.landmarks)[:2]).max() for face in faces]
    nearest = int(np.argmin(turned))
    return Performance([frames[nearest]], [faces[nearest]])
