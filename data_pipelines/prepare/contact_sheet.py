"""Draws a contact sheet: a line of small images for each persona, all labelled."""

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

SAMPLES = 10
"""Most images in a line."""

CELL = 112
"""Side of an image in pixels."""

# Layout, pixels.
_MARGIN = 28
_GAP = 6
_LABELS = 264  # width of what stands left of the images
_TOP = 84  # height of the title and the line below it
_CAPTION = 18  # height of the line below each image

LINE = CELL + _CAPTION + _GAP
"""Height of a line in pixels."""

_INK = "#1f2933"
_FAINT = "#616e7c"


@dataclasses.dataclass(frozen=True)
class Line:
    """One persona on the sheet.

    Attributes:
        name: of the persona, bold.
        notes: two texts below it, the second faint.
        images: SAMPLES at most, of side CELL.
        captions: one below each image.
    """

    name: str
    notes: tuple[str, str]
    images: Sequence[UInt8[np.ndarray, "c c 3"]]
    captions: Sequence[str]


def contact_sheet(title: str, explanation: str, lines: Sequence[Line]) -> bytes:
    """Draws lines of images below a title; returns a PNG.

    Args:
        title: of the sheet.
        explanation: what a line and a caption show.
        lines: one per persona.
    """
    width = 2 * _MARGIN + _LABELS + SAMPLES * (CELL + _GAP) - _GAP
    height = _TOP + len(lines) * LINE + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)

    room = width - 2 * _MARGIN
    _write(draw, (_MARGIN, 28), title, room, size=20, bold=True)
    _write(draw, (_MARGIN, 56), explanation, room, size=14, color=_FAINT)

    for row, line in enumerate(lines):
        middle = corner(row, 0)[1] + CELL // 2
        room = _LABELS - 20
        _write(draw, (_MARGIN, middle - 24), line.name, room, size=17, bold=True)
        _write(draw, (_MARGIN, middle + 2), line.notes[0], room, size=14)
        _write(draw, (_MARGIN, middle + 24), line.notes[1], room, size=14, color=_FAINT)

        for column, image in enumerate(line.images):
            x, y = corner(row, column)
            sheet.paste(Image.fromarray(image), (x, y))
            below = (x, y + CELL + _CAPTION // 2)
            _write(draw, below, line.captions[column], CELL, size=11, color=_FAINT)

    file = io.BytesIO()
    sheet.save(file, "png")
    return file.getvalue()


def corner(row: int, column: int) -> tuple[int, int]:
    """Returns (x, y) of the upper left corner of an image on the sheet, pixels."""
    return _MARGIN + _LABELS + column * (CELL + _GAP), _TOP + row * LINE


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    room: int,
    *,
    size: int,
    bold: bool = False,
    color: str = _INK,
) -> None:
    """Writes a text on one line, its end left out where it is longer than `room` pixels.

    Args:
        draw: on this image.
        place: (x, y) of the middle of the text's left edge.
        text: to write.
        room: pixels.
        size: of the font, pixels.
        bold: whether the font is bold.
        color: of the text.
    """
    font = ImageFont.truetype(findfont(f"DejaVu Sans:{'bold' if bold else 'regular'}"), size)
    draw.text(place, _fit(text, font, room), color, font, "lm")


def _fit(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    """Shortens a text to `room` pixels; line breaks and other control characters become visible."""
    printable = [
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    ]
    text = "".join(printable)
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"
