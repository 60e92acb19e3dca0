"""Puppet tracks as real video files with a landmark table beside them."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from data_pipelines.puppets.parameters import check_index, sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import RATE, performance_track
from faceswap_jax.errors import InputError
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks

_QUALITY = "14"  # x264's constant rate factor: visually lossless


def write_clip(
    path: str | os.PathLike,
    world_seed: int,
    persona: int,
    track: int,
    frames: int,
    size: int,
    rate: float = RATE,
    show: int | None = None,
) -> None:
    """Writes a track as an H.264 file (yuv420p) and its landmarks as `<path>.landmarks.csv`.

    The file shows `persona`'s track number `track`: `frames` (at least 1) frames of `size` (even) pixels a side, `rate`
    of them per second. With `show`, another persona gives its face to the same performance and scene: the clip is then
    the ground truth of a perfect swap. The folder of `path` must exist. InputError if it does not.
    """
    if size % 2 or frames < 1:
        raise InputError(f"a clip needs an even size and at least one frame, not {size} px and {frames} frames")
    check_index(show=persona if show is None else show)
    identity = sample_persona(world_seed, persona if show is None else show)
    scene = sample_scene(world_seed, persona, track)
    landmarks = {}
    folder = Path(path).parent
    if not folder.is_dir():
        raise InputError(f"cannot write the clip {path}: there is no folder {folder}")
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": _QUALITY, "preset": "veryfast"}
        for number, performance in enumerate(performance_track(world_seed, persona, track, frames, rate)):
            frame = render(identity, performance, scene, size)
            landmarks[number] = frame.landmarks
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), format="rgb24")))
        container.mux(stream.encode())
    write_landmarks(sidecar_path(Path(path)), landmarks)
