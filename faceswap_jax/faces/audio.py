"""The audio of a clip as 16 kHz mono, on the clock of its frames."""

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
from jaxtyping import Int16

from faceswap_jax.faces.container import audio_stream, clock_of, open_container, read_packets
from faceswap_jax.faces.picture import is_silent

RATE = 16000
"""Samples a second."""

SUFFIXES = frozenset({".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus"})
"""Of files that hold sound alone."""

PREROLL = 0.5
"""Seconds that are decoded before those that are wanted: many a codec builds on what came before."""

JITTER = 0.02
"""Seconds by which audio may miss its stated time before it is moved there: containers round times, some coarsely."""

LONGEST_GAP = 24 * 3600
"""Seconds; a time further than this from the audio before it is damaged."""


def read_audio(path: Path, *, start: float = 0.0, end: float = math.inf) -> Int16[np.ndarray, "n"]:
    """Audio of a clip, mixed to one channel; sample i belongs to the time start + i / 16000 of `video.Frame.time`.

    It begins at `start`, with silence if the clip's audio begins later, and stops where the audio stops, or at `end`.
    Gaps are silent, and so is what cannot be decoded. A clip without audio and a picture give an empty array.

    Args:
        path: of the clip.
        start: seconds.
        end: seconds.

    Raises:
        InputError: the file is missing, unreadable, empty, or no clip.
    """
    pieces = []
    if not is_silent(path):
        with open_container(path) as container:
            stream = audio_stream(container)
            if stream is not None:
                for time, run in _runs(container, stream, start, end):
                    pieces.append((round((time - start) * RATE), run))

    # Silence, then each piece where it belongs, as far as it lies between start and end.
    length = max((first + len(run) for first, run in pieces), default=0)
    if end < math.inf:
        length = min(length, round((end - start) * RATE))
    audio = np.zeros(max(length, 0), np.int16)
    for first, run in pieces:
        run = run[max(-first, 0) : max(length - first, 0)]
        first = max(first, 0)
        audio[first : first + len(run)] = run
    return audio


def _runs(
    container: av.container.InputContainer,
    stream: av.AudioStream,
    start: float,
    end: float,
) -> Iterator[tuple[float, Int16[np.ndarray, "n"]]]:
    """Stretches of unbroken audio at 16 kHz, each with the time of its first sample."""
    began = 0.0  # time of the run's first sample
    samples = 0  # of the run, at its own rate
    kind = resampler = None
    parts = []
    for frame in _frames(container, stream, start):
        ends = began + samples / kind[0] if kind else 0.0
        time = ends if frame.time is None else frame.time
        if time >= end:
            break
        if abs(time - ends) > LONGEST_GAP:
            continue

        # A new run after a gap, or where the format changes.
        now = (frame.sample_rate, frame.format.name, frame.layout.name)
        if now != kind or abs(time - ends) > JITTER:
            if resampler is not None:
                yield began, _joined(parts, resampler)
            began, samples, parts = time, 0, []
            kind = now
            resampler = av.AudioResampler("s16", "mono", RATE)

        samples += frame.samples
        frame.pts = None  # within a run, samples are counted
        parts += resampler.resample(frame)
    if resampler is not None:
        yield began, _joined(parts, resampler)


def _joined(parts: list[av.AudioFrame], resampler: av.AudioResampler) -> Int16[np.ndarray, "n"]:
    """One array of all parts and what the resampler still holds."""
    arrays = [np.zeros(0, np.int16)]
    for part in parts + resampler.resample(None):
        arrays.extend(part.to_ndarray())
    return np.concatenate(arrays)


def _frames(
    container: av.container.InputContainer, stream: av.AudioStream, start: float
) -> Iterator[av.AudioFrame]:
    """Frames that can be decoded, from before `start` on."""
    for other in container.streams:
        if other is not stream:
            # Video need not even be read.
            other.discard = av.stream.Discard.all
    clock = clock_of(container)
    if start > PREROLL and not clock.jumps:
        target = clock.stamp(int((start - PREROLL) / stream.time_base), stream)
        # Where it cannot be sought, all of it is read.
        with suppress(av.error.FFmpegError):
            container.seek(target, stream=stream)
    for packet in read_packets(container, stream):
        with suppress(av.error.FFmpegError):
            yield from packet.decode()
