"""Tracks: what a puppet does over time, and the ground truth of what a perfect system would show.

Every parameter follows an Ornstein-Uhlenbeck process that has passed one more low-pass filter of the same time
constant (so that positions, not only their integrals, are smooth), then a map from the normal distribution onto the
parameter's range. The map reaches both ends of the range. Blinks close both lids for a moment.
"""

import dataclasses
import functools
import math
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float

from data_pipelines.puppets.parameters import (
    PERFORMANCE_SPANS,
    Performance,
    acting,
    check_index,
    limits,
    sample_persona,
    sample_scene,
    wearing,
)
from data_pipelines.puppets.renderer import Frame, render
from faceswap_jax.errors import InputError

RATE = 25.0  # frames per second

# Time constant in seconds, and exponent of the fraction of the range (2: rests near the low end).
_MOTION = {
    "yaw": (0.9, 1.0),
    "pitch": (0.9, 1.0),
    "roll": (0.9, 1.0),
    "gaze_x": (0.25, 1.0),
    "gaze_y": (0.25, 1.0),
    "lid_left": (0.5, 0.6),
    "lid_right": (0.5, 0.6),
    "brow_raise": (0.4, 1.0),
    "brow_frown": (0.4, 1.6),
    "mouth_open": (0.1, 1.6),
    "smile": (0.5, 1.0),
    "pucker": (0.25, 1.8),
    "translate_x": (0.9, 1.0),
    "translate_y": (0.9, 1.0),
}
_OVERSHOOT = 0.12  # fraction of the time that a parameter rests at each end of its range
_SHARED_LIDS = 0.85  # correlation of both lids
_BLINKS_PER_SECOND = 0.3
_CLOSING = 0.08  # seconds that the lids take to close in a blink
_BLINK = 0.2  # seconds until they are open again
_BLOCK = 256  # frames are computed and cached in multiples of this
# Separate random streams of one world.
_MOTION_STREAM = 3
_BLINK_STREAM = 4
_LIDS = ("lid_left", "lid_right")


def performance_track(
    world_seed: int,
    persona: int,
    track: int,
    frames: int,
    rate: float = RATE,
) -> list[Performance]:
    """The first `frames` frames of a track at `rate` frames per second; each frame is the same for any `frames`.

    Raises:
        InputError: a number is not whole or negative, or the rate is impossible.
    """
    check_index(world_seed=world_seed, persona=persona, track=track, frames=frames)
    check_rate(rate)
    blocks = math.ceil(int(frames) / _BLOCK)
    values = _values(world_seed, persona, track, blocks, float(rate))
    return [Performance(*row) for row in values[: int(frames)].tolist()]


def check_rate(rate: float) -> None:
    """InputError unless a frame rate lies between 1 and 240 frames per second."""
    if not 1.0 <= rate <= 240.0:
        raise InputError(f"The frame rate of puppets is {rate}; it must lie between 1 and 240.")


class Take(NamedTuple):
    """One frame of a puppet's track: the number of the persona, of its track, and of the frame."""

    persona: int
    track: int
    frame: int


@dataclasses.dataclass(frozen=True)
class Cast:
    """Which puppet plays which role in the truth of a result; systems keep different things of their inputs.

    Attributes:
        identity: whose face, the number of a persona.
        performance: whose pose and place in the image, and whose expression and gaze unless somebody lends them.
        scene: whose light, background and camera; its frame plays no role.
        accessories: whose glasses, hair, beard and skin tone (`ACCESSORIES`), and whose shirt, the number of a persona.
        expression: whose gaze, lids, brows and mouth (`ACTED`); None: those of the performance.
    """

    identity: int
    performance: Take
    scene: Take
    accessories: int
    expression: Take | None = None

    @classmethod
    def swap(cls, identity: int, target: Take) -> Self:
        """A head that is blended into the target's frame: comb network, tunable decoder."""
        return cls(identity, performance=target, scene=target, accessories=identity)

    @classmethod
    def reenactment(cls, source: Take, driving: Take) -> Self:
        """The source's own image, moved as in the driving frame: X2Face, transfer in StyleGAN2's latent space."""
        return cls(source.persona, performance=driving, scene=source, accessories=source.persona)

    @classmethod
    def attribute(cls, identity: int, attribute: Take, expression: Take | None = None) -> Self:
        """The attribute picture with another's identity, and perhaps the expression of a third: MC-AAD."""
        return cls(identity, attribute, attribute, attribute.persona, expression)


def render_frame(
    world_seed: int,
    persona: int,
    track: int,
    frame: int,
    size: int,
    rate: float = RATE,
) -> Frame:
    """One frame of a persona's own track at `rate` frames per second."""
    own = Take(persona, track, frame)
    return truth(world_seed, Cast.swap(persona, own), size, rate)


def truth(world_seed: int, cast: Cast, size: int, rate: float = RATE) -> Frame:
    """What a perfect system shows of a cast.

    Args:
        world_seed: of all its personas.
        cast: who plays which role.
        size: side of the image in pixels.
        rate: of the tracks, frames per second.

    Raises:
        InputError: a number is not whole or negative, or the size is impossible.
    """
    check_index(identity=cast.identity, accessories=cast.accessories)
    dresser = sample_persona(world_seed, cast.accessories)
    persona = wearing(sample_persona(world_seed, cast.identity), dresser)

    performance = _performance(world_seed, cast.performance, rate)
    if cast.expression is not None:
        performance = acting(performance, _performance(world_seed, cast.expression, rate))

    scene = sample_scene(world_seed, cast.scene.persona, cast.scene.track)
    return render(persona, performance, scene, size, dresser)


def _performance(world_seed: int, take: Take, rate: float) -> Performance:
    """What a puppet does in one frame.

    Raises:
        InputError: a number is not whole or negative.
    """
    check_index(persona=take.persona, track=take.track, frame=take.frame)
    blocks = int(take.frame) // _BLOCK + 1
    values = _values(world_seed, take.persona, take.track, blocks, float(rate))
    return Performance(*values[int(take.frame)].tolist())


@functools.lru_cache(maxsize=64)
def _values(
    world_seed: int,
    persona: int,
    track: int,
    blocks: int,
    rate: float,
) -> Float[np.ndarray, "n 14"]:
    """Performance parameters of the first blocks of a track."""
    frames = max(blocks, 1) * _BLOCK
    noise = _smooth_noise(world_seed, persona, track, frames, rate)
    open_lids = 1.0 - _blinks(world_seed, persona, track, frames, rate)

    # Fractions 0..1 of each parameter's range.
    fractions = _normal_to_fraction(noise)
    for name, fraction in zip(PERFORMANCE_SPANS, fractions.T, strict=True):
        _, exponent = _MOTION[name]
        fraction **= exponent
        if name in _LIDS:
            fraction *= open_lids
    # Rounded, because exp and powers differ in the last bit between processors.
    fractions = np.round(fractions, 6)

    low, high = limits(PERFORMANCE_SPANS)
    return low + fractions * (high - low)


def _smooth_noise(
    world_seed: int,
    persona: int,
    track: int,
    frames: int,
    rate: float,
) -> Float[np.ndarray, "n 14"]:
    """Stationary paths of zero mean and unit variance: white noise through two equal first-order filters."""
    names = list(PERFORMANCE_SPANS)
    rng = np.random.default_rng([world_seed, _MOTION_STREAM, persona, track])
    noise = rng.standard_normal((frames + 2, len(names)))

    # Both lids move alike.
    left = noise[:, names.index("lid_left")]
    right = noise[:, names.index("lid_right")]
    own = math.sqrt(1 - _SHARED_LIDS**2)
    right[:] = _SHARED_LIDS * left + own * right

    # What each filter keeps of its value from frame to frame.
    seconds = np.array([_MOTION[name][0] for name in names])
    keep = np.exp(-1.0 / (rate * seconds))

    # Start in the joint stationary distribution of an OU path x and its filtered copy y, where
    # var x = 1, cov(x, y) = 1 / (1 + keep), var y = (1 + keep^2) / (1 + keep)^2.
    first = noise[0]
    second = (first + keep * noise[1]) / (1 + keep)

    gain = np.sqrt(1 - keep**2)
    out = np.empty((frames, len(names)))
    for frame in range(frames):
        out[frame] = second
        first = keep * first + gain * noise[frame + 2]
        second = keep * second + (1 - keep) * first
    # To unit variance.
    return out * ((1 + keep) / np.sqrt(1 + keep**2))


def _normal_to_fraction(path: Float[np.ndarray, "n 14"]) -> Float[np.ndarray, "n 14"]:
    """Normal variables to fractions 0..1: near uniform, with _OVERSHOOT of the mass at either end."""
    # The logistic approximation of the normal distribution function.
    uniform = 1.0 / (1.0 + np.exp(-1.702 * path))
    stretched = (uniform - _OVERSHOOT) / (1.0 - 2.0 * _OVERSHOOT)
    return stretched.clip(0.0, 1.0)


def _blinks(
    world_seed: int,
    persona: int,
    track: int,
    frames: int,
    rate: float,
) -> Float[np.ndarray, "n"]:
    """How far a blink closes the lids in every frame, 0..1."""
    rng = np.random.default_rng([world_seed, _BLINK_STREAM, persona, track])
    chances = rng.random(frames)
    starts = np.flatnonzero(chances < _BLINKS_PER_SECOND / rate)

    # One blink: down, and up again more slowly.
    time = np.arange(math.ceil(_BLINK * rate)) / rate
    closing = time / _CLOSING
    opening = (_BLINK - time) / (_BLINK - _CLOSING)
    profile = np.minimum(closing, opening)
    # The frame nearest to the moment of closing shows it, whatever the rate.
    profile[np.argmin(np.abs(time - _CLOSING))] = 1.0

    closed = np.zeros(frames)
    for start in starts:
        left = closed[start : start + len(time)]
        np.maximum(left, profile[: len(left)], out=left)
    return closed
