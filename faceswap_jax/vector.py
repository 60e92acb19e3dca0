"""The verb `vector`: makes an adjustment vector from faces that show a trait and faces that do not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from rich.console import Console

from faceswap_jax.editing.keys import Keys
from faceswap_jax.editing.vectors import METHODS, Vector, path_of, where
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, blend
from faceswap_jax.faces.grid import draw_grid
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.faces.pose import head_pose
from faceswap_jax.inference.batching import Performance, generate
from faceswap_jax.inference.clip import blend_side, put_face
from faceswap_jax.inference.generator import Edit, Generator, Who
from faceswap_jax.inference.trained import load

SHOWN = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Weights in the picture of a vector."""

COLUMNS = [f"{weight:+g}" if weight else "0" for weight in SHOWN]

PERSONAS = 4
"""Personas in it, at most."""

FRONTAL = 0.1
"""The fraction of the key faces that are turned least; one of them is shown."""

SIDE = 128
"""Of its faces, pixels."""


def vector(
    workdir: Path,
    name: str,
    positive: Keys,
    negative: Keys,
    parts: Sequence[str] = (),
    method: str = "mean",
    step: int | None = None,
) -> Vector:
    """Makes an adjustment vector, and a picture of what it does beside it, in the folder of a run.

    Args:
        workdir: folder of a trained run.
        name: what to call the vector; one of that name is replaced.
        positive: faces that show the trait.
        negative: faces that do not, or show the opposite.
        parts: of the latents that it may change; all by default.
        method: "mean", the difference of the two sides' means, or "pca", the first principal component.
        step: of the checkpoint to use, by its number of steps; the newest if not given.

    Raises:
        InputError: any of these cannot be used. Nothing is written then.
    """
    path_of(workdir, name)
    if method not in METHODS:
        raise InputError(f"There is no method '{method}'; choose one of {', '.join(METHODS)}.")
    generator = load(workdir, step)
    parts = list(parts or generator.parts)
    inside = where(parts, generator)

    # Without the other parts, which would lead the first component astray
    z = positive.latents(generator) * inside, negative.latents(generator) * inside
    values = METHODS[method](*z, (positive.groups, negative.groups))
    made = Vector(
        name=name,
        trait=f"{positive.trait} against {negative.trait}",
        parts=parts,
        method=method,
        digest=generator.digest,
        positive=positive.keys,
        negative=negative.keys,
        values=np.float32(values).tolist(),
    )

    face = _middle(z, positive, negative)
    names = generator.personas[:PERSONAS]
    rows = [shown(generator, made, name, face) for name in names]
    picture = path_of(workdir, name).with_suffix(".png")
    path = made.save(workdir)
    write_picture(picture, draw_grid(np.array(rows), [f"as {name}" for name in names], COLUMNS))
    Console(stderr=True).print(
        f"{path}: from {len(positive.keys)} positive and {len(negative.keys)} negative faces; {picture} shows it",
        highlight=False,
        soft_wrap=True,
    )
    return made


def shown(
    generator: Generator,
    made: Vector,
    persona: str,
    face: Performance,
    outline: str = align.DEFAULT_OUTLINE,
) -> UInt8[np.ndarray, "weights h w 3"]:
    """A persona with the performance of one face, edited by each weight of `SHOWN`."""
    identity = generator.identity(Who({persona: 1.0}))
    weights = np.float32(SHOWN)[:, None]
    edit = Edit(weights * np.float32(made.values))
    repeated = Performance([*face.frames] * len(SHOWN), [*face.faces] * len(SHOWN))
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
            outline,
        )
        cells.append(align.cut_face(blended, found.landmarks, SIDE, "box"))
    return np.stack(cells)


def _middle(
    z: tuple[Float[np.ndarray, "p latent"], Float[np.ndarray, "n latent"]],
    positive: Keys,
    negative: Keys,
) -> Performance:
    """Of the key faces that look to the front, the one nearest to the middle of the two sides."""
    frames = [*positive.performance.frames, *negative.performance.frames]
    faces = [*positive.performance.faces, *negative.performance.faces]
    turned = np.array([np.abs(head_pose(face.landmarks)[:2]).max() for face in faces])
    to_front = turned <= np.quantile(turned, FRONTAL)

    middle = (z[0].mean(0) + z[1].mean(0)) / 2
    away = np.square(np.concatenate(z) - middle).sum(1)
    nearest = int(np.where(to_front, away, np.inf).argmin())
    return Performance([frames[nearest]], [faces[nearest]])
