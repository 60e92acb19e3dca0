"""What a face does, as a few ratios of its landmarks; and whether latents tell it."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from faceswap_jax.faces import ibug

MEASURES = {
    "right_gaze_x": 0.05,
    "right_gaze_y": 0.04,
    "right_lids": 0.05,
    "right_brow_inner": 0.07,
    "right_brow_middle": 0.07,
    "right_brow_outer": 0.06,
    "left_gaze_x": 0.05,
    "left_gaze_y": 0.04,
    "left_lids": 0.05,
    "left_brow_inner": 0.07,
    "left_brow_middle": 0.07,
    "left_brow_outer": 0.06,
    "mouth_corners": 0.06,
    "mouth_width": 0.08,
    "mouth_open": 0.08,
    "lips": 0.08,
    "upper_lip": 0.02,
    "jaw": 0.14,
    "brows_apart": 0.03,
}
"""Names of the measures, and the standard deviation of each in one puppet, about."""

Points = Float[Array, "... 2"]
Length = Float[Array, "..."]


def measures(
    landmarks: Float[Array, "... 68 2"], irises: Float[Array, "... 2 2"]
) -> Float[Array, "... 19"]:
    """Lengths in the face, relative to its size, in the order of `MEASURES`; NaN where irises are.

    They change with the expression, and not with the face's place, size and roll in the image.

    Args:
        landmarks: (x, y), iBUG order.
        irises: (x, y) of the person's right and left iris.
    """
    at = [landmarks[..., i, :] for i in range(landmarks.shape[-2])]
    upper_lip, lower_lip = at[62], at[66]
    corners = [at[i] for i in ibug.MOUTH_CORNERS]

    lengths = [
        *_eye(at, irises[..., 0, :], ibug.RIGHT_EYE, ibug.RIGHT_BROW[::-1]),
        *_eye(at, irises[..., 1, :], ibug.LEFT_EYE, ibug.LEFT_BROW),
        # The middle of the lips below the line between the corners: a smile
        _beside(*corners, (upper_lip + lower_lip) / 2)[1],
        _apart(*corners),
        _apart(upper_lip, lower_lip),
        _apart(at[51], at[57]),
        _apart(at[33], at[51]),
        _apart(at[33], at[8]),
        _apart(at[21], at[22]),
    ]
    # One of both is long, however the head is turned.
    eyes = (at[36] + at[45]) / 2
    size = jnp.hypot(_apart(at[36], at[45]), _apart(eyes, at[33]))
    return jnp.stack(lengths, -1) / size[..., None]


def unread(
    z: Float[Array, "b latent"], kernel: Float[Array, "latent k"], wanted: Float[Array, "b k"]
) -> Float[Array, ""]:
    """Mean squared error of measures that are read linearly from latents of one persona, in their spreads.

    All are about their means over the batch: what a persona's face is like at rest, its latents need not tell.
    Measures that are unknown, NaN, do not count.

    Args:
        z: latents.
        kernel: of the reading.
        wanted: the measures of the same images.
    """
    known = ~jnp.isnan(wanted)
    spread = jnp.array(list(MEASURES.values()))
    error = jnp.where(known, z @ kernel - wanted / spread, 0)
    mean = error.sum(0) / jnp.maximum(known.sum(0), 1)
    return jnp.where(known, (error - mean) ** 2, 0).mean()


def _eye(at: list[Points], iris: Points, eye: range, brow: range) -> list[Length]:
    """Gaze, lids and brow of an eye; the brow's points go from the nose outwards."""
    corners = (at[eye[0]], at[eye[3]])
    lids = _apart(at[eye[1]], at[eye[5]]) + _apart(at[eye[2]], at[eye[4]])
    heights = [_beside(*corners, at[brow[i]])[1] for i in (0, 2, 4)]
    return [*_beside(*corners, iris), lids / 2, *heights]


def _apart(a: Points, b: Points) -> Length:
    return jnp.linalg.norm(a - b, axis=-1)


def _beside(right: Points, left: Points, point: Points) -> tuple[Length, Length]:
    """How far a point lies from the middle of a line, along it and below it."""
    line = left - right
    along = line / jnp.linalg.norm(line, axis=-1, keepdims=True)
    below = jnp.stack([-along[..., 1], along[..., 0]], -1)
    away = point - (left + right) / 2
    return (away * along).sum(-1), (away * below).sum(-1)
