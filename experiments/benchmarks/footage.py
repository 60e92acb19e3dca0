"""What comes through of clips of many kinds: frames, sound, and all that is said of them.

    python -m experiments.benchmarks.footage

Writes a short clip of each kind, takes its frames out and encodes them again as every container that results have, and
prints tables in Markdown: docs/footage.md has them. It needs no person and no network.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from absl import app

from faceswap_jax.errors import InputError
from faceswap_jax.faces import audio, encode, video

RATE, FRAMES, SIZE = 25, 50, 96
"""Frames per second, frames, and their side in pixels."""

SAMPLES = 48000
"""Of sound, a second; but telephones' codecs and Flash have fewer."""

BEEP = 0.5
"""Seconds after which the sound begins."""


class Kind(NamedTuple):
    """A kind of clip."""

    suffix: str
    images: str
    pixels: str
    sound: str
    samples: int = SAMPLES


KINDS = (
    Kind(".mp4", "libx264", "yuv420p", "aac"),
    Kind(".mp4", "libx265", "yuv420p10le", "ac3"),
    Kind(".mp4", "libvpx-vp9", "yuv420p", "libopus"),
    Kind(".mp4", "mpeg4", "yuv420p", "libmp3lame"),
    Kind(".mov", "prores_ks", "yuv422p10le", "pcm_s24le"),
    Kind(".mov", "libx264", "yuv420p", "alac"),
    Kind(".mov", "mjpeg", "yuvj420p", "pcm_s16be"),
    Kind(".mov", "dnxhd", "yuv422p", "pcm_s16le"),
    Kind(".3gp", "libx264", "yuv420p", "aac", 16000),
    Kind(".mkv", "ffv1", "yuv420p", "flac"),
    Kind(".mkv", "libx264", "yuv420p", "eac3"),
    Kind(".mkv", "libx264", "yuv420p", "vorbis"),
    Kind(".webm", "libvpx-vp9", "yuv420p", "libopus"),
    Kind(".ts", "libx264", "yuv420p", "aac"),
    Kind(".ts", "mpeg2video", "yuv420p", "ac3"),
    Kind(".mpg", "mpeg2video", "yuv420p", "mp2"),
    Kind(".mxf", "mpeg2video", "yuv420p", "pcm_s16le"),
    Kind(".avi", "mpeg4", "yuv420p", "ac3"),
    Kind(".avi", "msmpeg4v3", "yuv420p", "adpcm_ms"),
    Kind(".flv", "flv", "yuv420p", "adpcm_swf", 22050),
    Kind(".wmv", "wmv2", "yuv420p", "wmav2"),
)
"""Of cameras, telephones, editors, broadcasters and archives."""

SUBTITLES = {".mov": "mov_text", ".mkv": "subrip"}
"""Codec of subtitles, by suffix."""

CREATED = "2019-06-07T08:09:10.000000Z"

CHECKS: dict[str, Callable[[av.container.InputContainer], bool]] = {
    "title": lambda c: c.metadata.get("title") == "A day",
    "creation time": lambda c: c.metadata.get("creation_time") == CREATED,
    "timecode": lambda c: video.start_timecode(Path(c.name)) == "01:02:03:04",
    "chapters": lambda c: [x["metadata"].get("title") for x in c.chapters()] == ["one", "two"],
    "both sound tracks": lambda c: len(c.streams.audio) == 2,
    "their languages": lambda c: [s.language for s in c.streams.audio] == ["eng", "ita"],
    "which is the default": lambda c: _default(c) == [False, True],
    "subtitles": lambda c: [s.language for s in c.streams.subtitles] == ["fra"],
    "pixel aspect": lambda c: c.streams.video[0].sample_aspect_ratio == Fraction(4, 3),
    "colour tags": lambda c: _tags(c) == (9, 14, 9),
    "attached font": lambda c: [a.data for a in c.streams.attachments] == [b"a font"],
}
"""What is said of a clip, and how it is found."""


def main(_) -> None:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        print_markdown(
            ("file", "images", "sound", *(f"sound in {s}" for s in encode.OUTPUT_SUFFIXES)),
            (row_of_kind(Path(folder), kind) for kind in KINDS),
        )
        described = [write_described(Path(folder) / f"described{suffix}") for suffix in SUBTITLES]
        columns = [f"{a.suffix} to {b}" for a in described for b in encode.OUTPUT_SUFFIXES]
        results = [
            rewritten(source, suffix) for source in described for suffix in encode.OUTPUT_SUFFIXES
        ]
        print()
        print_markdown(("what", *columns), rows_of_checks(described, results))


def row_of_kind(folder: Path, kind: Kind) -> list[str]:
    """What becomes of a kind: how far frame times and the beep moved, and which codec the sound has then."""
    source = write_kind(folder / f"source{kind.suffix}", kind)
    times, (codec, beep) = np.array(video.frame_times(source)), listen(source)
    if len(times) != FRAMES or np.abs(np.diff(times) - 1 / RATE).max() > 2e-3:
        raise InputError(f"{source} was not read as it was written.")
    cells = []
    for suffix in encode.OUTPUT_SUFFIXES:
        output = rewritten(source, suffix)
        found, found_beep = listen(output)
        moved = np.abs(np.diff(video.frame_times(output)) - np.diff(times)).max()
        late = 1000 * max(moved, abs(found_beep - beep))
        fate = "AAC" if found == "aac" != codec else "copied"
        cells.append(fate if late < 2 else f"{fate}, {late:.0f} ms off")
    codecs = [av.Codec(name, "w").canonical_name for name in (kind.images, kind.sound)]
    return [kind.suffix, *codecs, *cells]


def rows_of_checks(sources: Sequence[Path], results: Sequence[Path]) -> Iterator[list[str]]:
    """For each check whether the results have what their source has."""
    for name, check in CHECKS.items():
        cells = []
        for number, result in enumerate(results):
            source = sources[number // len(encode.OUTPUT_SUFFIXES)]
            with av.open(str(source)) as old, av.open(str(result)) as new:
                kept = "kept" if check(new) else "lost"
                cells.append(kept if check(old) else "-")
        yield [name, *cells]


def rewritten(source: Path, suffix: str) -> Path:
    """The clip's frames, encoded again beside all else of it."""
    output = source.with_name(f"{source.stem}_{source.suffix[1:]}{suffix}")
    encode.write_video(output, source, video.read_frames(source))
    return output


def listen(path: Path) -> tuple[str, float]:
    """The codec of the sound, and when it begins, in seconds after the first frame."""
    with av.open(str(path)) as container:
        codec = container.streams.audio[0].codec_context.codec.canonical_name
    loud = np.flatnonzero(np.abs(audio.read_audio(path).astype(float)) > 4000)
    return codec, loud[0] / audio.RATE - next(video.read_frames(path)).time


def write_kind(path: Path, kind: Kind) -> Path:
    """A clip of a kind: waves, and a beep after half a second."""
    with av.open(str(path), "w") as container:
        images = add_images(container, kind.images, kind.pixels)
        sound = add_sound(container, kind.sound, kind.samples)
        write(container, [*encoded_images(images), *encoded_beep(sound)])
    return path


def write_described(path: Path) -> Path:
    """A clip with two sounds, subtitles, and all that can be said of it."""
    with av.open(str(path), "w") as container:
        images = add_images(container, "libx264", "yuv420p")
        images.codec_context.sample_aspect_ratio = Fraction(4, 3)
        context = images.codec_context
        context.color_primaries, context.color_trc, context.colorspace = 9, 14, 9
        images.metadata["timecode"] = "01:02:03:04"
        sounds = [add_sound(container, "aac", SAMPLES) for _ in range(2)]
        for sound, language in zip(sounds, ("eng", "ita"), strict=True):
            sound.metadata["language"] = language
        sounds[0].disposition, sounds[1].disposition = 0, av.stream.Disposition.default
        container.metadata.update({"title": "A day", "creation_time": CREATED})
        seconds = {"time_base": Fraction(1)}
        names = enumerate(("one", "two"))
        container.set_chapters(
            [
                {"id": i, "start": i, "end": i + 1, "metadata": {"title": name}} | seconds
                for i, name in names
            ]
        )
        texts = container.add_mux_stream(SUBTITLES[path.suffix])
        texts.time_base, texts.metadata["language"] = Fraction(1, 1000), "fra"
        if path.suffix == ".mkv":
            container.add_attachment("a.ttf", "font/ttf", b"a font")
        packets = [*encoded_images(images), subtitle(texts, SUBTITLES[path.suffix])]
        write(container, packets + [packet for sound in sounds for packet in encoded_beep(sound)])
    return path


def add_images(container: av.container.OutputContainer, codec: str, pixels: str) -> av.VideoStream:
    """A stream of frames."""
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    stream = container.add_stream(codec, rate=RATE, options=quiet)
    # DNxHD has the sizes of television alone.
    stream.width, stream.height = (1280, 720) if codec == "dnxhd" else (SIZE, SIZE)
    stream.bit_rate = 60_000_000 if codec == "dnxhd" else 1_000_000
    stream.pix_fmt = pixels
    return stream


def add_sound(container: av.container.OutputContainer, codec: str, samples: int) -> av.AudioStream:
    """A stream of stereo sound."""
    options = {"strict": "experimental"} if codec == "vorbis" else {}
    return container.add_stream(
        codec, rate=samples, layout="stereo", bit_rate=96_000, options=options
    )


def encoded_images(stream: av.VideoStream) -> Iterator[av.Packet]:
    """Moving waves."""
    y, x = np.mgrid[: stream.height, : stream.width] / stream.height
    for index in range(FRAMES):
        waves = [np.sin(6 * x + index / 5), np.cos(5 * y - index / 5), np.sin(4 * (x + y))]
        image = cv2.convertScaleAbs(128 + 80 * np.stack(waves, -1))
        frame = av.VideoFrame.from_ndarray(image, "rgb24")
        frame.pts, frame.time_base = index, Fraction(1, RATE)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def encoded_beep(stream: av.AudioStream) -> Iterator[av.Packet]:
    """Silence, then a tone."""
    rate = stream.codec_context.sample_rate
    time = np.arange(FRAMES * rate // RATE) / rate
    wave = np.where(time < BEEP, 0, 0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    yield from stream.encode(frame)
    yield from stream.encode(None)


def subtitle(stream: av.stream.Stream, codec: str) -> av.Packet:
    """A line of text."""
    text = b"Bonjour"
    packet = av.Packet(text if codec == "subrip" else len(text).to_bytes(2, "big") + text)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = 400
    packet.duration = 800
    return packet


def write(container: av.container.OutputContainer, packets: Sequence[av.Packet]) -> None:
    """Writes packets in order of their times."""
    for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
        container.mux(packet)


def print_markdown(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    """A table."""
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def _default(container: av.container.InputContainer) -> list[bool]:
    default = av.stream.Disposition.default
    return [bool(stream.disposition & default) for stream in container.streams.audio]


def _tags(container: av.container.InputContainer) -> tuple[int, int, int]:
    context = container.streams.video[0].codec_context
    return context.color_primaries, context.color_trc, context.colorspace


if __name__ == "__main__":
    app.run(main)
