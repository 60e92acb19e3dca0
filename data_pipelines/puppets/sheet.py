"""Images of many puppets at once: the contact sheet of a folder of clips, and grids of expressions and poses.

    python -m data_pipelines.puppets.sheet FOLDER

writes the grids of eight personas as puppet_expressions.png and puppet_poses.png.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from data_pipelines.prepare.contact_sheet import CELL, SAMPLES, Line, contact_sheet
from data_pipelines.puppets.dataset import PuppetClip, PuppetClips
from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import render_frame
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.files import replacing

SHEET = "contact_sheet.png"

ROWS = 40
"""Most puppets on a contact sheet."""

EXPLANATION = "Moments of each puppet, evenly spread; below each: when in which track."

_CLOSE = 0.77  # fraction of an image's side that the head takes up

# Layout of a grid, pixels.
_GAP = 4
_HEAD = 30  # height of the names above the columns
_LABELS = 64  # width of the names left of the lines
_INK = "#1f2933"

EXPRESSIONS = {
    "neutral": Performance(),
    "smile": Performance(smile=1.0),
    "open mouth": Performance(mouth_open=1.0),
    "closed eyes": Performance(lid_left=0.0, lid_right=0.0),
    "frown": Performance(brow_frown=1.0, smile=-1.0),
    "raised brows": Performance(brow_raise=1.0, lid_left=1.0, lid_right=1.0),
    "pucker": Performance(pucker=1.0),
    "gaze aside": Performance(gaze_x=1.0),
}
# Degrees of yaw and pitch.
_ANGLES = [
    (-40, 0),
    (-20, 0),
    (0, 0),
    (20, 0),
    (40, 0),
    (0, 25),
    (0, -25),
]
POSES = {f"yaw {yaw}°, pitch {pitch}°": Performance(yaw=yaw, pitch=pitch) for yaw, pitch in _ANGLES}


def write_contact_sheet(folder: Path, puppets: PuppetClips) -> Path:
    """Writes `contact_sheet.png`: a line of moments from the clips of each puppet, 40 puppets at most.

    Raises:
        InputError: it cannot be written.
    """
    clips = {}
    for clip in puppets.clips:
        clips.setdefault(clip.name, []).append(clip)
    by_puppet = list(clips.values())
    number = len(by_puppet)
    shown = np.linspace(0, number - 1, min(number, ROWS))
    lines = [_line(puppets, by_puppet[row]) for row in shown.astype(int)]

    count = f"{number:,} puppet(s) of world {puppets.world_seed}"
    title = f"{count}, {puppets.size} px, {puppets.rate:g} frames/s"
    with replacing(folder / SHEET) as aside:
        aside.write_bytes(contact_sheet(title, EXPLANATION, lines))
    return folder / SHEET


def _line(puppets: PuppetClips, clips: Sequence[PuppetClip]) -> Line:
    """Moments of one puppet: the middles of equal stretches of all that it does in its clips."""
    moments = [(clip, frame) for clip in clips for frame in range(clip.frames)]
    middles = (np.arange(SAMPLES) + 0.5) * len(moments) / SAMPLES
    images = []
    captions = []
    for number in np.unique(middles.astype(int)):
        clip, frame = moments[number]
        rendered = render_frame(
            puppets.world_seed, clip.persona, clip.track, frame, CELL, puppets.rate
        )
        images.append(rendered.image)
        captions.append(f"{frame / puppets.rate:.1f} s  track {clip.track}")
    extent = f"{len(clips):,} clip(s), {len(moments):,} frames"
    first = clips[0]
    notes = (extent, f"persona {first.persona}")
    return Line(first.name, notes, images, captions)


def performance_grid(
    world_seed: int,
    personas: Sequence[int],
    performances: Mapping[str, Performance],
    size: int = 160,
) -> UInt8[np.ndarray, "h w 3"]:
    """A line for every persona and a column for every performance, labelled, all in the same plain scene.

    Args:
        world_seed: of the personas.
        personas: their numbers.
        performances: by name.
        size: side of an image in pixels.
    """
    width, height = grid_corner(len(personas), len(performances), size)
    grid = Image.new("RGB", (width - _GAP, height - _GAP), "white")
    draw = ImageDraw.Draw(grid)
    font = ImageFont.truetype(findfont("DejaVu Sans"), max(size // 11, 8))

    def label(x: int, y: int, text: str) -> None:
        draw.text((x, y), text, _INK, font, anchor="mm", align="center")

    for column, name in enumerate(performances):
        x, _ = grid_corner(0, column, size)
        label(x + size // 2, _HEAD // 2, name)
    for row, persona in enumerate(personas):
        _, y = grid_corner(row, 0, size)
        label(_LABELS // 2, y + size // 2, f"persona\n{persona}")
        for column, performance in enumerate(performances.values()):
            face = _close_up(world_seed, persona, performance, size)
            grid.paste(Image.fromarray(face), grid_corner(row, column, size))
    return np.asarray(grid)


def grid_corner(row: int, column: int, size: int) -> tuple[int, int]:
    """(x, y) of the upper left corner of an image of a grid of images of a size, pixels."""
    pitch = size + _GAP
    return _LABELS + column * pitch, _HEAD + row * pitch


def _close_up(
    world_seed: int,
    persona: int,
    performance: Performance,
    size: int,
) -> UInt8[np.ndarray, "s s 3"]:
    """The middle of a rendered image, which the head fills."""
    whole = round(size / _CLOSE)
    identity = sample_persona(world_seed, persona)
    frame = render(identity, performance, Scene(), whole)
    first = (whole - size) // 2
    middle = slice(first, first + size)
    return frame.image[middle, middle]


if __name__ == "__main__":
    _folder = Path(sys.argv[1])
    for _name, _performances in (("expressions", EXPRESSIONS), ("poses", POSES)):
        _grid = performance_grid(0, range(8), _performances, size=112)
        write_picture(_folder / f"puppet_{_name}.png", _grid)
