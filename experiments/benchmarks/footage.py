"""What comes through of clips of many kinds: frames, sound, colours, and all that is said of them.

    python -m experiments.benchmarks.footage

Writes a short clip of each kind, takes its frames out and encodes them again as every container that results have, and
prints tables in Markdown: docs/footage.md has them. It needs no person and no network.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from absl import app
from av.video.reformatter import VideoReformatter
from jaxtyping import Bool, UInt8

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


class Colours(NamedTuple):
    """A kind of clip that shows what an SDR clip shows.

    Attributes:
        name: what users call it.
        tags: code points of primaries, transfer and matrix (ITU-T H.273).
        images: encoder.
        pixels: FFmpeg's name of the planes.
    """

    name: str
    tags: tuple[int, int, int]
    images: str = "libx265"
    pixels: str = "yuv420p10le"


PQ = Colours("PQ, 10 bits", (9, 16, 9))
COLOURS = (
    Colours("BT.709, 8 bits", (1, 1, 1), "libx264", "yuv420p"),
    Colours("BT.709, 10 bits", (1, 1, 1), "libx264"),
    Colours("Display P3, 8 bits", (12, 1, 1), "libx264", "yuv420p"),
    Colours("BT.2020, 10 bits", (9, 14, 9)),
    PQ,
    Colours("PQ, 12 bits, 4:4:4", (9, 16, 9), pixels="yuv444p12le"),
    Colours("HLG, 10 bits", (9, 18, 9)),
    Colours("HLG, 10 bits, ProRes", (9, 18, 9), "prores_ks", "yuv422p10le"),
)

MASTERING = (
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    ":max-cll=1000,400"
)

FACE = ((0.5, 0.45), 0.3)
"""Centre and radius of the disc that is changed, in sides of a frame."""

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
        print()
        print_markdown(
            ("clip", "result", "tags, mastering", "outside", "face as seen", "face in the result"),
            (row_of_colours(Path(folder), colours) for colours in COLOURS),
        )
        print()
        print_markdown(("codec", *encode.OUTPUT_SUFFIXES), rows_of_codecs(Path(folder)))


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


def row_of_colours(folder: Path, colours: Colours) -> list[str]:
    """What becomes of a clip whose faces are changed as in an SDR clip.

    Says what is written, whether what is said of it is kept, whether samples outside the face are those of the clip
    before they are encoded, and by how much, of 255, the face differs from that of the SDR clip: as it is seen, and in
    the result.
    """
    source = write_coloured(folder / "coloured.mov", colours)
    mask, new = _disc(), waves(FRAMES)
    frames, equal, seen = [], True, []
    for frame in video.read_frames(source):
        seen.append(np.abs(frame.image.astype(float) - waves(frame.index))[mask].mean())
        after = np.where(mask[..., None], new, frame.image)
        changed = replace(frame, image=after)
        frames.append(changed)
        equal &= _equal_outside(frame, after, mask)

    output = source.with_name("coloured_out.mov")
    encode.write_video(output, source, frames)
    old, info = video.probe(source), video.probe(output)
    is_kept = (info.tags, info.mastering) == (old.tags, old.mastering)
    results = [
        np.abs(frame.image.astype(float) - new)[mask].mean() for frame in video.read_frames(output)
    ]
    return [
        colours.name,
        f"{_codec(output)}, {info.layout.bits} bits",
        "kept" if is_kept else "lost",
        "the same samples" if equal else "changed",
        f"{np.mean(seen):.1f}",
        f"{np.mean(results):.1f}",
    ]


def rows_of_codecs(folder: Path) -> Iterator[list[str]]:
    """What each codec and container keeps of PQ."""
    source = write_coloured(folder / "coloured.mov", PQ)
    old = video.probe(source)
    for codec in encode.CODECS:
        cells = []
        for suffix in encode.OUTPUT_SUFFIXES:
            output = source.with_name(f"coded{suffix}")
            try:
                encode.write_video(output, source, video.read_frames(source), codec=codec)
            except InputError:
                cells.append("refused")
                continue
            info = video.probe(output)
            lost = [n for n in ("tags", "mastering") if getattr(info, n) != getattr(old, n)]
            fate = f"{info.layout.bits} bits, " + (f"without {', '.join(lost)}" if lost else "all")
            cells.append(fate)
        yield [codec, *cells]


def write_coloured(path: Path, colours: Colours) -> Path:
    """A clip of moving waves in these colours: FFmpeg's scaler converts them from SDR."""
    primaries, transfer, matrix = colours.tags
    with av.open(str(path), "w") as container:
        images = add_images(container, colours.images, colours.pixels)
        if colours.images == "libx265":
            said = f":{MASTERING}" if transfer == 16 else ""
            images.codec_context.options = {"x265-params": f"crf=4:log-level=none{said}"}
        elif colours.images == "libx264":
            images.codec_context.options = {"crf": "4"}
        context = images.codec_context
        context.color_primaries, context.color_trc, context.colorspace = colours.tags
        context.color_range = 1
        # It takes a second to begin.
        convert = VideoReformatter()
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(waves(index) * np.uint16(257), "rgb48le")
            frame.color_primaries, frame.color_trc, frame.color_range = 1, 1, 2
            frame = convert.reformat(frame, dst_color_primaries=primaries, dst_color_trc=transfer)
            frame = frame.reformat(
                format=colours.pixels, dst_colorspace=matrix, src_color_range=2, dst_color_range=1
            )
            frame.color_primaries, frame.color_trc, frame.colorspace = colours.tags
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(images.encode(frame))
        container.mux(images.encode(None))
    return path


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
    for index in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(waves(index, stream.height, stream.width), "rgb24")
        frame.pts, frame.time_base = index, Fraction(1, RATE)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def waves(index: int, height: int = SIZE, width: int = SIZE) -> UInt8[np.ndarray, "h w 3"]:
    """An image of waves at a moment."""
    y, x = np.mgrid[:height, :width] / height
    waves = [np.sin(6 * x + index / 5), np.cos(5 * y - index / 5), np.sin(4 * (x + y))]
    return cv2.convertScaleAbs(128 + 80 * np.stack(waves, -1))


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


def _disc() -> Bool[np.ndarray, "h w"]:
    """What is changed of a frame."""
    (x, y), radius = FACE
    rows, columns = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def _equal_outside(
    frame: video.Frame, after: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]
) -> bool:
    """Whether a change of what is seen leaves samples alone that no changed pixel has a part in."""
    plain, changed = (frame.decoded.changed(frame.own, image) for image in (frame.own, after))
    equal = True
    for old, new in zip(plain.planes, changed.planes, strict=True):
        side = SIZE // old.width
        above = SIZE // old.height
        # Samples of colour have a part of the pixels beside theirs.
        reach = mask if side == 1 else cv2.dilate(mask.view(np.uint8), np.ones((3, 3))) > 0
        touched = reach.reshape(old.height, above, old.width, side).any((1, 3))
        size = (old.height, -1)
        kind = np.uint8 if frame.decoded.layout.bits == 8 else np.uint16
        samples = [np.frombuffer(p, kind).reshape(size)[:, : old.width] for p in (old, new)]
        equal &= bool((samples[0] == samples[1])[~touched].all())
    return equal


def _codec(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.name


def _default(container: av.container.InputContainer) -> list[bool]:
    default = av.stream.Disposition.default
    return [bool(stream.disposition & default) for stream in container.streams.audio]


def _tags(container: av.container.InputContainer) -> tuple[int, int, int]:
    context = container.streams.video[0].codec_context
    return context.color_primaries, context.color_trc, context.colorspace


if __name__ == "__main__":
    app.run(main)
