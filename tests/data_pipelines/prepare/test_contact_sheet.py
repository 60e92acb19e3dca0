"""Tests of the contact sheet: what is written where."""

import cv2
import numpy as np

from data_pipelines.prepare.contact_sheet import CELL, LINE, SAMPLES, Line, contact_sheet, corner


def draw(*lines: Line) -> np.ndarray:
    png = contact_sheet("title", "explanation", lines)
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def grey(value: int) -> np.ndarray:
    return np.full((CELL, CELL, 3), value, np.uint8)


def has_text(part: np.ndarray) -> bool:
    return bool((part < 150).any())


def test_title_personas_and_faces_are_labelled():
    images = [grey(200)] * 2
    sheet = draw(Line("ann", ("2 pictures", "train"), images, ("0.1 s", "")))
    left, top = corner(0, 0)
    assert has_text(sheet[:top])
    assert has_text(sheet[top : top + CELL, :left])

    # Below the first face there is its caption, below the second nothing.
    below = sheet[top + CELL : top + LINE]
    second, _ = corner(0, 1)
    assert has_text(below[:, left:second]) and not has_text(below[:, second:])


def test_long_texts_end_before_the_images():
    line = Line(
        "long " * 200, ("a\nb", "wide " * 50), [grey(90)] * SAMPLES, ["wide " * 50] * SAMPLES
    )
    sheet = draw(line)
    left, top = corner(0, 0)
    assert (sheet[top : top + CELL, left : left + CELL] == 90).all()
    assert (sheet[top:, left - 15 : left] == 255).all()
    for column in range(1, SAMPLES):
        x, _ = corner(0, column)
        assert (sheet[top:, x - 4 : x] == 255).all()
