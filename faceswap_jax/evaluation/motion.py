"""Flicker: what changes from frame to frame that the motion of the face does not explain."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from faceswap_jax.evaluation.frames import Frames, Masks

Row = TypeVar("Row", bound=Hashable)
Flow = Float32[np.ndarray, "h w 2"]
"""How far each pixel moves, (x, y), in pixels."""


def flicker(
    rows: Mapping[Row, Frames],
    target: Frames,
    masks: Masks,
) -> dict[Row, Float32[np.ndarray, "n-1"]]:
    """Warping error of every frame but the first, in grey levels of 255 (after Lai et al. 2018, without their square).

    The optical flow of the target (DIS, Kroeger et al. 2016) carries each clip's last frame to the present one. The
    mean absolute difference counts inside the mask, where the flows there and back agree. NaN where none does.

    Noise, light, interpolation and features of the new face that move a little otherwise than the target's count, too.
    How much they do is told by the target itself as a row, and by the truth if there is one.

    Args:
        rows: clips that show the motion of the target, by name.
        target: the clip whose flow is taken.
        masks: where the face is, 0..1.
    """
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in target]
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    # Down to single pixels
    method.setFinestScale(0)
    pairs = max(len(target) - 1, 0)
    result = {name: np.full(pairs, np.nan, np.float32) for name in rows}
    for i in range(1, len(target)):
        # The flow and where it can be trusted
        back = method.calc(greys[i], greys[i - 1], None)
        forth = method.calc(greys[i - 1], greys[i], None)
        weight = masks[i] * consistent(back, forth)
        total = weight.sum()
        if not total:
            continue

        # What it does not explain
        places = _places(back)
        for name, frames in rows.items():
            carried = _sampled(frames[i - 1], places)
            error = cv2.absdiff(frames[i].astype(np.float32), carried)
            per_channel = np.tensordot(weight, error, axes=2)
            result[name][i - 1] = per_channel.mean() / total
    return result


def _places(flow: Flow) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Where each pixel moves, x and y."""
    rows, columns = np.indices(flow.shape[:2], np.float32)
    return columns + flow[..., 0], rows + flow[..., 1]


def _sampled(
    image: np.ndarray, places: tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]
) -> Float32[np.ndarray, "h w *c"]:
    """The image [h, w, ...] whose pixels are those of another at some places, cubically interpolated."""
    return cv2.remap(
        image.astype(np.float32), *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def consistent(back: Flow, forth: Flow) -> Bool[np.ndarray, "h w"]:
    """Where going back and forth ends where it began (Sundaram et al. 2010, their tolerance)."""
    forth = _sampled(forth, _places(back))
    error = _squared_length(back + forth)
    size = _squared_length(back) + _squared_length(forth)
    return error < 0.01 * size + 0.5


def _squared_length(flow: Flow) -> Float32[np.ndarray, "h w"]:
    return np.square(flow).sum(-1)
