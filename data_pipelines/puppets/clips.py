"""Puppet tracks as real video files with audio and a landmark table beside them."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Int16, UInt8

from data_pipelines.puppets.parameters import check_index, sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import RATE, performance_track
from data_pipelines.puppets.voice import track_audio
from faceswap_jax.errors import InputError
from faceswap_jax.faces.audio import RATE as AUDIO_RATE
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks
from faceswap_jax.files import replacing

_QUALITY = "14"  # x264's constant rate factor: visually lossless
_BIT_RATE = 96_000  # of the audio, per second


def write_clip(
    path: Path,
    world_seed: int,
    persona: int,
    track: int,
    frames: int,
    size: int,
    rate: float = RATE,
    show: int | None = None,
) -> None:
    """Writes a track as an H.264 (yuv420p) and AAC file, and its landmarks as `<path>.landmarks.csv`.

    The file appears, after its landmarks, when it is complete.

    Args:
        path: file to write, .mp4.
        world_seed: of the puppets' world.
        persona: whose track it is; the clip sounds like this puppet.
        track: number of the track.
        frames: how many, at least 1.
        size: side of a frame in pixels, even.
        rate: frames per second.
        show: who gives a face to the same performance, scene and audio: the ground truth of a perfect swap. By default
            the persona itself.

    Raises:
        InputError: there is no such folder, it cannot be written, or a value makes no sense.
    """
    if size % 2 or frames < 1:
        raise InputError(
            f"A clip of {frames} frames of {size} px cannot be written; it needs an even size and at least one frame."
        )
    shown = persona if show is None else show
    check_index(show=shown)
    identity = sample_persona(world_seed, shown)
    scene = sample_scene(world_seed, persona, track)
    performances = performance_track(world_seed, persona, track, frames, rate)
    audio = track_audio(world_seed, persona, track, frames, rate)

    landmarks = {}

    def images() -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        for number, performance in enumerate(performances):
            frame = render(identity, performance, scene, size)
            landmarks[number] = frame.landmarks
            yield frame.image

    with replacing(path) as aside, replacing(sidecar_path(path)) as sidecar:
        with av.open(f"file:{aside}", "w") as container:
            _encode(container, images(), size, rate, audio)
        write_landmarks(sidecar, landmarks)


def _encode(
    container: av.container.OutputContainer,
    images: Iterable[UInt8[np.ndarray, "h w 3"]],
    size: int,
    rate: float,
    audio: Int16[np.ndarray, "samples"],
) -> None:
    """Writes square images and their audio, frame by frame."""
    video_stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
    video_stream.width = video_stream.height = size
    video_stream.pix_fmt = "yuv420p"
    video_stream.options = {"crf": _QUALITY, "preset": "veryfast"}
    audio_stream = container.add_stream("aac", rate=AUDIO_RATE, layout="mono", bit_rate=_BIT_RATE)

    for number, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        container.mux(video_stream.encode(frame))

        first = round(number * AUDIO_RATE / rate)
        last = round((number + 1) * AUDIO_RATE / rate)
        heard = audio[None, first:last]
        samples = av.AudioFrame.from_ndarray(heard, format="s16", layout="mono")
        samples.sample_rate = AUDIO_RATE
        samples.pts = first
        samples.time_base = Fraction(1, AUDIO_RATE)
        container.mux(audio_stream.encode(samples))

    # What the encoders still hold.
    container.mux(video_stream.encode())
    container.mux(audio_stream.encode())
