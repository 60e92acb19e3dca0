"""Grids of images with labels beside their rows and above their columns."""

from collections.abc import Sequence

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from jaxtyping import UInt8

CELL = 96
"""Pixels; smaller images are enlarged, so that early growth levels can be seen."""
FONT = PIL.ImageFont.load_default(13)
LINE = 16  # pixels from one line of text to the next
GAP = 6  # pixels between text and images
LABEL = 110  # pixels at which the label of a row is wrapped


def draw_grid(
    images: UInt8[np.ndarray, "rows columns h w 3"],
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> UInt8[np.ndarray, "height width 3"]:
    """Images side by side, black labels on white.

    Cells grow where a word would not fit, so no label is ever cut.

    Args:
        images: of one size.
        rows: what each row shows; () for no labels.
        columns: what each column shows; () for no labels.
    """
    factor = max(1, CELL // images.shape[2])
    height, width = (factor * side for side in images.shape[2:4])

    # Place the cells
    beside = [_wrap(label, LABEL) for label in rows]
    above = [_wrap(label, width) for label in columns]
    left = max(map(_text_width, beside), default=-GAP) + GAP
    top = max((LINE * len(lines) for lines in above), default=-GAP) + GAP
    pitch_x = max([width, *(_text_width(lines) + GAP for lines in above)])
    pitch_y = max([height, *(LINE * len(lines) + GAP for lines in beside)])
    size = left + pitch_x * images.shape[1], top + pitch_y * images.shape[0]
    canvas = PIL.Image.new("RGB", size, "white")

    # Write the labels
    draw = PIL.ImageDraw.Draw(canvas)
    for i, lines in enumerate(beside):
        middle = top + i * pitch_y + height // 2
        _write(draw, lines, GAP // 2, middle - LINE * len(lines) // 2)
    for i, lines in enumerate(above):
        _write(draw, lines, left + i * pitch_x + 1, top - LINE * len(lines) - GAP // 2)

    # Put in the images
    grid = np.array(canvas)
    for row, cells in enumerate(images):
        for column, image in enumerate(cells):
            x, y = left + column * pitch_x, top + row * pitch_y
            enlarged = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
            grid[y : y + height, x : x + width] = enlarged
    return grid


def _wrap(label: str, width: int) -> list[str]:
    """Lines of whole words, no wider than `width` where the words allow."""
    lines = [""]
    for word in label.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and FONT.getlength(longer) > width - GAP:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _text_width(lines: Sequence[str]) -> int:
    return int(np.ceil(max(FONT.getlength(line) for line in lines))) + GAP // 2


def _write(draw: PIL.ImageDraw.ImageDraw, lines: Sequence[str], x: int, y: int) -> None:
    for number, line in enumerate(lines):
        draw.text((x, y + LINE * number), line, fill="black", font=FONT)
