"""Puppet tracks as real video files with sound and a landmark table beside them."""

from fractions import Fraction
from pathlib import Path

import av

from data_pipelines.puppets.parameters import check_index, sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import RATE, performance_track
from data_pipelines.puppets.voice import track_audio
from faceswap_jax.errors import InputError
from faceswap_jax.faces.audio import RATE as AUDIO_RATE
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks
from faceswap_jax.files import replacing

_QUALITY = "14"  # x264's constant rate factor: visually lossless
_BIT_RATE = 96_000  # of the sound, per second


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

    The file shows `persona`'s track number `track`: `frames` (at least 1) frames of `size` (even) pixels a side, `rate`
    of them per second, and sounds like it. With `show`, another persona gives its face to the same performance, scene
    and sound: the clip is then the ground truth of a perfect swap. The file appears, after its landmarks, when it is
    complete.

    Raises:
        InputError: there is no such folder, it cannot be written, or a value makes no sense.
    """
    if size % 2 or frames < 1:
        raise InputError(
            f"a clip needs an even size and at least one frame, not {size} px and {frames} frames"
        )
    check_index(show=persona if show is None else show)
    identity = sample_persona(world_seed, persona if show is None else show)
    scene = sample_scene(world_seed, persona, track)
    performances = performance_track(world_seed, persona, track, frames, rate)
    sound = track_audio(world_seed, persona, track, frames, rate)
    landmarks = {}
    with replacing(path) as aside, replacing(sidecar_path(path)) as sidecar:
        with av.open(f"file:{aside}", "w") as container:
            video = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
            video.width = video.height = size
            video.pix_fmt = "yuv420p"
            video.options = {"crf": _QUALITY, "preset": "veryfast"}
            audio = container.add_stream("aac", rate=AUDIO_RATE, layout="mono", bit_rate=_BIT_RATE)
            for number, performance in enumerate(performances):
                frame = render(identity, performance, scene, size)
                landmarks[number] = frame.landmarks
                container.mux(video.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
                first, last = (round(count * AUDIO_RATE / rate) for count in (number, number + 1))
                piece = av.AudioFrame.from_ndarray(
                    sound[None, first:last], format="s16", layout="mono"
                )
                piece.sample_rate, piece.pts, piece.time_base = (
                    AUDIO_RATE,
                    first,
                    Fraction(1, AUDIO_RATE),
                )
                container.mux(audio.encode(piece))
            container.mux(video.encode())
            container.mux(audio.encode())
        write_landmarks(sidecar, landmarks)
