"""Grids of images with labels beside their rows and above their columns."""

import math
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
    below: Sequence[str] = (),
) -> UInt8[np.ndarray, "height width 3"]:
    """Images side by side, black labels on white.

    Cells grow where a word would not fit, so no label is ever cut.

    Args:
        images: of one size.
        rows: what each row shows; () for no labels.
        columns: what each column shows; () for no labels.
        below: lines of text beneath the images.
    """
    row_count, column_count, height, width, _ = images.shape
    factor = max(1, CELL // height)
    height *= factor
    width *= factor

    # Place the cells
    beside = [_wrap(label, LABEL) for label in rows]
    above = [_wrap(label, width) for label in columns]
    left = max(map(_text_width, beside), default=-GAP) + GAP
    top = max(map(_text_height, above), default=-GAP) + GAP
    pitch_x = max([width, *(_text_width(lines) + GAP for lines in above)])
    pitch_y = max([height, *(_text_height(lines) + GAP for lines in beside)])
    canvas_width = left + pitch_x * column_count
    images_end = top + pitch_y * row_count
    text = [line for paragraph in below for line in _wrap(paragraph, canvas_width)]
    canvas_height = images_end + (_text_height(text) + GAP if text else 0)
    canvas = PIL.Image.new("RGB", (canvas_width, canvas_height), "white")

    # Write the labels
    draw = PIL.ImageDraw.Draw(canvas)
    for i, lines in enumerate(beside):
        middle = top + i * pitch_y + height // 2
        _write(draw, lines, GAP // 2, middle - _text_height(lines) // 2)
    for i, lines in enumerate(above):
        x = left + i * pitch_x + 1
        _write(draw, lines, x, top - _text_height(lines) - GAP // 2)

    _write(draw, text, GAP // 2, images_end + GAP // 2)

    # Put in the images
    grid = np.array(canvas)
    for row, cells in enumerate(images):
        for column, image in enumerate(cells):
            x = left + column * pitch_x
            y = top + row * pitch_y
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
    widest = max(map(FONT.getlength, lines))
    return math.ceil(widest) + GAP // 2


def _text_height(lines: Sequence[str]) -> int:
    return LINE * len(lines)


def _write(draw: PIL.ImageDraw.ImageDraw, lines: Sequence[str], x: int, y: int) -> None:
    for number, line in enumerate(lines):
        draw.text((x, y + LINE * number), line, fill="black", font=FONT)
