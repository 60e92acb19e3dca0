"""Pictures of many puppets at once: the contact sheet of a folder of clips, and grids of expressions and poses.

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
from data_pipelines.puppets.dataset import PuppetClips
from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import render_frame
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.files import replacing

SHEET = "contact_sheet.png"

ROWS = 40
"""Most puppets on a contact sheet."""

EXPLANATION = "Moments of each puppet, evenly spread; below each: when in which track."

_CLOSE = 0.77  # share of a picture's side that the head takes up

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
POSES = {
    f"yaw {yaw}°, pitch {pitch}°": Performance(yaw=yaw, pitch=pitch)
    for yaw, pitch in ((-40, 0), (-20, 0), (0, 0), (20, 0), (40, 0), (0, 25), (0, -25))
}


def write_contact_sheet(folder: Path, puppets: PuppetClips) -> Path:
    """Writes `contact_sheet.png`: a line of moments from the clips of each puppet, 40 puppets at most.

    Raises:
        InputError: it cannot be written.
    """
    clips = {}
    for clip in puppets.clips:
        clips.setdefault(clip.name, []).append(clip)
    names = list(clips)
    shown = [names[i] for i in np.linspace(0, len(names) - 1, min(len(names), ROWS)).astype(int)]
    lines = []
    for name in shown:
        moments = [(clip, frame) for clip in clips[name] for frame in range(clip.frames)]
        # The middles of equal stretches of all that the puppet does.
        numbers = (np.arange(SAMPLES) + 0.5) * len(moments) / SAMPLES
        images = []
        captions = []
        for i in np.unique(numbers.astype(int)):
            clip, frame = moments[i]
            rendered = render_frame(
                puppets.world_seed, clip.persona, clip.track, frame, CELL, puppets.rate
            )
            images.append(rendered.image)
            captions.append(f"{frame / puppets.rate:.1f} s  track {clip.track}")
        notes = (
            f"{len(clips[name]):,} clip(s), {len(moments):,} frames",
            f"persona {clips[name][0].persona}",
        )
        lines.append(Line(name, notes, images, captions))
    title = f"{len(names):,} puppet(s) of world {puppets.world_seed}, {puppets.size} px, {puppets.rate:g} frames/s"
    with replacing(folder / SHEET) as aside:
        aside.write_bytes(contact_sheet(title, EXPLANATION, lines))
    return folder / SHEET


def performance_grid(
    world_seed: int,
    personas: Sequence[int],
    performances: Mapping[str, Performance],
    size: int = 160,
) -> UInt8[np.ndarray, "h w 3"]:
    """Every persona in a line, with every performance in a column below its name, in the same plain scene.

    Args:
        world_seed: of the personas.
        personas: their numbers.
        performances: by name.
        size: side of a face's picture, pixels.
    """
    gap, head = 4, 30
    whole = round(size / _CLOSE)
    margin = (whole - size) // 2
    grid = Image.new(
        "RGB",
        (len(performances) * (size + gap) - gap, head + len(personas) * (size + gap) - gap),
        "white",
    )
    draw, font = (
        ImageDraw.Draw(grid),
        ImageFont.truetype(findfont("DejaVu Sans"), max(size // 11, 8)),
    )
    for column, (name, performance) in enumerate(performances.items()):
        x = column * (size + gap)
        draw.text((x + size // 2, head // 2), name, "#1f2933", font, "mm")
        for row, persona in enumerate(personas):
            image = render(sample_persona(world_seed, persona), performance, Scene(), whole).image
            grid.paste(
                Image.fromarray(image[margin:, margin:][:size, :size]),
                (x, head + row * (size + gap)),
            )
    return np.asarray(grid)


if __name__ == "__main__":
    for _name, _performances in (("expressions", EXPRESSIONS), ("poses", POSES)):
        write_picture(
            Path(sys.argv[1], f"puppet_{_name}.png"),
            performance_grid(0, range(8), _performances, size=112),
        )
