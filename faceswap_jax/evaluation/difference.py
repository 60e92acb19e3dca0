"""A picture of where two faces differ."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import jax.numpy as jnp
import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import Float, Float32, UInt8

from faceswap_jax.evaluation.frames import Points
from faceswap_jax.faces import ibug
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.grid import FONT, LINE, draw_grid
from faceswap_jax.losses.ssim import WINDOW, ssim_map

BRIGHTEST = 64
"""Difference of colours that is shown brightest, of 255."""

PALETTE = cv2.COLORMAP_INFERNO  # from black over red to light yellow
PALE = 0.75  # how much white covers what is beside the faces
LINE_OF_A = (70, 240, 90)
LINE_OF_B = (90, 170, 255)
BAR = (160, 14)  # of the legend, width and height in pixels

# Each feature's landmarks, and whether they close.
_FEATURES = (
    (ibug.JAW, False),
    (ibug.RIGHT_BROW, False),
    (ibug.LEFT_BROW, False),
    (ibug.NOSE[:4], False),
    (ibug.NOSE[4:], False),
    (ibug.RIGHT_EYE, True),
    (ibug.LEFT_EYE, True),
    (ibug.OUTER_LIPS, True),
    (ibug.INNER_LIPS, True),
)

Map = Float32[np.ndarray, "h w"]
"""How much two images differ at each pixel: 0 equal, 1 as much as is told apart."""


class Aligned(NamedTuple):
    """A face in the crop that both faces share.

    Attributes:
        image: the crop.
        landmarks: in its pixels.
    """

    image: Image
    landmarks: Points


def colour_map(a: Image, b: Image) -> Map:
    """Mean difference of the channels, in BRIGHTEST."""
    apart = cv2.absdiff(a, b).mean(2, dtype=np.float32)
    return np.minimum(apart / BRIGHTEST, 1)


def structure_map(a: Image, b: Image) -> Map:
    """1 less the SSIM around each pixel."""
    x, y = (jnp.float32(image)[None] / 255 for image in (a, b))
    alike = np.asarray(ssim_map(x, y)[0].mean(-1))
    # Windows lie inside of the image.
    alike = np.pad(alike, WINDOW // 2, mode="edge")
    return np.clip(1 - alike, 0, 1)


def draw_differences(
    pairs: Sequence[tuple[Aligned, Aligned]],
    masks: Sequence[Float[np.ndarray, "h w"]],
    names: tuple[str, str],
    labels: Sequence[str] = (),
) -> UInt8[np.ndarray, "height width 3"]:
    """A line for each pair of faces: the one, the other, where colours and where structures differ; and a legend.

    Args:
        pairs: aligned faces of one size.
        masks: where either of a pair shows the face, 0..1; all else is pale.
        names: of the two, in the heads of the columns.
        labels: beside the lines.
    """
    lines = []
    for (a, b), mask in zip(pairs, masks, strict=True):
        colours = _shown(colour_map(a.image, b.image), mask, a, b)
        structure = _shown(structure_map(a.image, b.image), mask, a, b)
        lines.append([a.image, b.image, colours, structure])
    columns = [
        f"A: {names[0]}",
        f"B: {names[1]}",
        "where colours differ",
        "where structure differs",
    ]
    grid = draw_grid(np.array(lines), labels, columns)
    return np.concatenate([grid, _legend(grid.shape[1])])


def _shown(values: Map, mask: Float[np.ndarray, "h w"], a: Aligned, b: Aligned) -> Image:
    """A map in colours, with the lines of both faces."""
    colours = _colours(values).astype(np.float32)
    pale = PALE * (1 - mask[..., None])
    shown = np.rint(colours + pale * (255 - colours)).astype(np.uint8)
    for face, colour in ((a, LINE_OF_A), (b, LINE_OF_B)):
        _draw_features(shown, face.landmarks, colour)
    return shown


def _draw_features(image: Image, landmarks: Points, colour: tuple[int, int, int]) -> None:
    # In fixed point, so that lines lie between pixels.
    bits = 4
    points = np.rint(landmarks * 2**bits).astype(np.int32)
    for feature, closed in _FEATURES:
        cv2.polylines(image, [points[[*feature]]], closed, colour, 1, cv2.LINE_AA, bits)


def _colours(values: Map) -> Image:
    levels = np.rint(values * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, PALETTE), cv2.COLOR_BGR2RGB)


def _legend(width: int) -> Image:
    """What the colours and lines of the maps mean."""
    bar_width, bar_height = BAR
    ramp = np.linspace(0, 1, bar_width, dtype=np.float32)
    bar = _colours(np.tile(ramp, (bar_height, 1)))
    canvas = PIL.Image.new("RGB", (width, 4 * LINE), "white")
    draw = PIL.ImageDraw.Draw(canvas)

    x = 8
    y = LINE // 2
    draw.text((x, y), "equal", fill="black", font=FONT)
    x += 40
    canvas.paste(PIL.Image.fromarray(bar), (x, y + 1))
    x += bar_width + 8
    most = f"colours differ by {BRIGHTEST} of 255 or more; structure has nothing in common (SSIM 0)"
    draw.text((x, y), most, fill="black", font=FONT)

    x = 8
    y += 3 * LINE // 2
    for colour, name in ((LINE_OF_A, "lines of A"), (LINE_OF_B, "lines of B")):
        draw.rectangle((x, y + 1, x + 32, y + bar_height), fill="black")
        draw.line((x + 4, y + 8, x + 28, y + 8), fill=colour, width=2)
        x += 40
        draw.text((x, y), name, fill="black", font=FONT)
        x += 100
    draw.text((x, y), "pale: beside both faces, not measured", fill="black", font=FONT)
    return np.array(canvas)
