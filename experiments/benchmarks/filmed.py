"""Clips of puppets as a camera would film them, for benchmarks of what is done with clips."""

from pathlib import Path

import av
import cv2
import numpy as np

from data_pipelines.puppets.tracks import render_frame

RATE = 25  # frames per second
RENDERED = 384  # pixels of a puppet
TAKES = 48  # frames of it, shown forwards and backwards
FILLING = 2 / 3  # of the frame's height
NOISE = 1.5  # of 255: standard deviation of the camera's


def film(path: Path, height: int, frames: int) -> Path:
    """Writes a clip of a puppet in front of a wall: of 16:9, with a camera's noise."""
    width = round(height * 16 / 9 / 2) * 2
    side = round(FILLING * height)
    chance = np.random.default_rng(0)
    wall = cv2.resize(chance.uniform(60, 180, (9, 16, 3)), (width, height))
    wall += chance.normal(0, 8, wall.shape)
    noises = [chance.normal(0, NOISE, wall.shape).astype(np.float32) for _ in range(4)]
    left = (width - side) // 2
    takes = []
    for number in range(min(TAKES, frames)):
        image = wall.astype(np.float32)
        puppet = render_frame(0, 1, 0, number, RENDERED).image
        image[-side:, left : left + side] = cv2.resize(puppet, (side, side))
        image += noises[number % len(noises)]
        takes.append(image.clip(0, 255).astype(np.uint8))
    # Forwards, then backwards
    takes += takes[-2:0:-1]

    with av.open(path, "w") as container:
        options = {"crf": "18", "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            image = takes[number % len(takes)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
    return path
