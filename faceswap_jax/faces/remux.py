"""All of a clip but its frames, into another file: sound, subtitles, titles, chapters, timecode.

What the other container takes is copied packet by packet. Sound that it does not take is encoded again, and subtitles
become plain text. The log tells of that, and of what is left out.
"""

import io
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av

from faceswap_jax.faces.audio import JITTER
from faceswap_jax.faces.container import (
    clock_of,
    is_cover,
    open_container,
    read_packets,
    timecode_of,
    video_streams,
)
from faceswap_jax.faces.picture import is_silent

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
"""Samples a second that the encoder takes."""

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Layouts by number of channels. The encoder makes others stereo."""

AAC_BIT_RATE = 96_000
"""Per channel and second: nothing is heard of it."""

OF_THE_FILE = re.compile(
    "encoder|duration|rotate|vendor_id|major_brand|minor_version|compatible_brands"
    "|(.*_)?(uid|umid)|operational_pattern_ul"
    "|(bps|number_of_frames|number_of_bytes|_statistics_.*)(-.*)?",
    re.IGNORECASE,
)
"""Names of metadata that describe the old file, and would be wrong of the new one."""

QUICKTIME_LANGUAGES = {
    "cym": "wel",
    "cze": "ces",
    "deu": "ger",
    "ell": "gre",
    "eus": "baq",
    "fre": "fra",
    "hrv": "hr ",
    "hye": "arm",
    "isl": "ice",
    "kat": "geo",
    "mkd": "mac",
    "msa": "may",
    "mya": "bur",
    "nld": "dut",
    "rum": "ron",
    "slo": "slk",
    "sqi": "alb",
    "srp": "sr ",
    "swe": "sve",
    "zho": "chi",
}
"""Names of languages that FFmpeg's writer of .mov knows by others; for unknown ones it writes none."""

ISO_LANGUAGES = {"hr ": "hrv", "sr ": "srp", "sve": "swe"}
"""Its own names, which no other container knows."""

STYLE = re.compile(rb"\{\\[^}]*\}")
"""Of a line of subtitles, such as {\\i1}."""

TIMECODE = re.compile(r"\d+:\d+:\d+([:;.,])\d+")
"""A colon before the frames says that no numbers are dropped."""

logger = logging.getLogger(__name__)


def all_but_frames(
    clip: Path, output: av.container.OutputContainer, images: av.VideoStream
) -> Iterator[av.Packet]:
    """Packets of all that a clip has beside its frames, addressed to streams of the output.

    The first call of next() adds these streams and the metadata; it must come before the first packet is written.

    Args:
        clip: where to read. A picture has nothing.
        output: where to add streams.
        images: its stream of frames, which gets what is said of the clip's.
    """
    if is_silent(clip):
        return
    with open_container(clip) as container:
        frames = video_streams(container)[0]
        _copy_metadata(clip, container, output, images)
        others = [stream for stream in container.streams if stream is not frames]
        yield from _copy(clip, container, others, output)


def sound_alone(file: Path, output: av.container.OutputContainer) -> Iterator[av.Packet]:
    """Packets of the sound of a clip or a file of sound, as of `all_but_frames`."""
    with open_container(file) as container:
        yield from _copy(file, container, container.streams.audio, output)


def _copy(
    file: Path,
    container: av.container.InputContainer,
    streams: Iterable[av.stream.Stream],
    output: av.container.OutputContainer,
) -> Iterator[av.Packet]:
    """Packets of those streams that can be kept, after adding these to the output."""
    lanes = _lanes(file, container, streams, output)
    for packet in read_packets(container, *lanes):
        yield from lanes[packet.stream].take(packet)


class Lane(Protocol):
    """What becomes of the packets of a stream."""

    def take(self, packet: av.Packet) -> list[av.Packet]:
        """Packets to write for one that was read."""
        ...


class _Copied:
    """A stream whose packets stay as they are."""

    def __init__(self, stream: av.stream.Stream, output: av.container.OutputContainer) -> None:
        self._stream = _add_copy(stream, output)
        self._is_sound = stream.type == "audio"
        self._earliest: int | None = None

    def take(self, packet: av.Packet) -> list[av.Packet]:
        """Packets to write for one that was read."""
        if packet.size and packet.dts is None:
            packet.dts = packet.pts or 0
            packet.pts = packet.dts
        if not packet.size:
            return []
        # Joints and damage bring times again that have been; no container takes them. Subtitles may share theirs.
        if self._earliest is not None and packet.dts < self._earliest:
            return []
        self._earliest = packet.dts
        if self._is_sound:
            self._earliest += max((packet.duration or 0) // 2, 1)
        packet.stream = self._stream
        return [packet]


class _Encoded:
    """Sound that is encoded again, silent where it cannot be decoded."""

    def __init__(self, stream: av.AudioStream, output: av.container.OutputContainer) -> None:
        context = stream.codec_context
        rate = context.sample_rate if context.sample_rate in AAC_RATES else 48000
        layout = LAYOUTS.get(context.channels, "stereo")
        channels = len(av.AudioLayout(layout).channels)
        self._stream = output.add_stream(
            "aac", rate=rate, layout=layout, bit_rate=AAC_BIT_RATE * channels
        )
        _describe(stream, self._stream)
        self._form = f"sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"
        self._graph: av.filter.Graph | None = None
        self._kind: tuple = ()  # of the graph's input
        self._due = Fraction(0)  # when the next frame should come

    def take(self, packet: av.Packet) -> list[av.Packet]:
        """Packets to write for one that was read."""
        packets = []
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            frames = []
        for frame in frames:
            if frame.pts is None:
                frame.pts = round(self._due / frame.time_base)
            self._due = frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate)
            packets += self._encode(self._filter(frame))
        if not packet.size:
            packets += self._encode(self._rest())
            packets += self._stream.encode(None)
        return packets

    def _encode(self, frames: list[av.AudioFrame]) -> list[av.Packet]:
        return [packet for frame in frames for packet in self._stream.encode(frame)]

    def _filter(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """What a frame gives in the encoder's form, after silence where there was a gap."""
        kind = (frame.sample_rate, frame.format.name, frame.layout.name, frame.time_base)
        before = []
        if kind != self._kind:
            before = self._rest()
            self._graph, self._kind = av.filter.Graph(), kind
            rate, form, layout, time_base = kind
            entrance = self._graph.add_abuffer(
                sample_rate=rate, format=form, layout=layout, time_base=time_base
            )
            filters = [
                entrance,
                self._graph.add("aresample", f"async=1:min_hard_comp={JITTER}"),
                self._graph.add("aformat", self._form),
                self._graph.add("abuffersink"),
            ]
            self._graph.link_nodes(*filters).configure()
        self._graph.push(frame)
        return before + self._pulled()

    def _rest(self) -> list[av.AudioFrame]:
        """What the filters hold."""
        if self._graph is None:
            return []
        self._graph.push(None)
        return self._pulled()

    def _pulled(self) -> list[av.AudioFrame]:
        frames = []
        try:
            while True:
                frames.append(self._graph.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return frames


class _Text:
    """Subtitles of one kind of text as those of another, without their styles."""

    def __init__(self, stream: av.stream.Stream, output: av.container.OutputContainer) -> None:
        self._is_matroska = output.format.name == "matroska"
        self._stream = output.add_mux_stream("subrip" if self._is_matroska else "mov_text")
        self._stream.time_base = stream.time_base
        _describe(stream, self._stream)

    def take(self, packet: av.Packet) -> list[av.Packet]:
        """Packets to write for one that was read."""
        if not packet.size or packet.pts is None:
            return []
        try:
            lines = [STYLE.sub(b"", line.dialogue) for line in packet.decode()]
        except av.error.FFmpegError:
            return []
        text = b"\n".join(lines).strip()
        if not text:
            return []
        written = av.Packet(text if self._is_matroska else len(text).to_bytes(2, "big") + text)
        written.stream, written.time_base = self._stream, packet.time_base
        written.pts = written.dts = packet.pts
        written.duration = packet.duration
        return [written]


def _lanes(
    source: Path,
    container: av.container.InputContainer,
    streams: Iterable[av.stream.Stream],
    output: av.container.OutputContainer,
) -> dict[av.stream.Stream, Lane]:
    """What becomes of the packets of each stream that is kept; the log tells of the others."""
    lanes: dict[av.stream.Stream, Lane] = {}
    kind = output.format.name
    for stream in streams:
        if _is_made_anew(stream, container):
            continue
        if is_cover(stream) and kind == "matroska":
            _attach(source, stream, output)
        elif _takes(kind, source, stream):
            lanes[stream] = _Copied(stream, output)
        elif _is_text(stream):
            lanes[stream] = _Text(stream, output)
            _tell(source, stream, f"becomes plain text as this kind of file ({kind}) has it")
        elif stream.type == "audio" and stream.codec_context is not None:
            lanes[stream] = _Encoded(stream, output)
            _tell(source, stream, f"is no sound for this kind of file ({kind}) and becomes AAC")
        elif is_cover(stream) or _takes("matroska", source, stream):
            _tell(source, stream, f"does not fit into this kind of file ({kind}): an .mkv keeps it")
        else:
            _tell(source, stream, "cannot be copied and is left out")
    return lanes


def _is_text(stream: av.stream.Stream) -> bool:
    """Whether subtitles are text, not images."""
    context = stream.codec_context
    return stream.type == "subtitle" and context is not None and context.codec.text_sub


def _is_made_anew(stream: av.stream.Stream, container: av.container.InputContainer) -> bool:
    """Whether a stream only holds the timecode or the chapters, which are written by themselves."""
    if stream.type != "data":
        return False
    names_chapters = getattr(stream, "name", None) == "bin_data" and bool(container.chapters())
    return "timecode" in stream.metadata or names_chapters


def _tell(source: Path, stream: av.stream.Stream, fate: str) -> None:
    context = stream.codec_context
    codec = context.name if context else getattr(stream, "name", None) or "unknown to FFmpeg"
    name = f"{stream.type} stream {stream.index} ({codec})"
    logger.warning("%s: its %s %s.", source, name, fate)


def _takes(kind: str, source: Path, stream: av.stream.Stream) -> bool:
    """Whether a kind of container takes a stream: tried in memory, with a packet of sound."""
    try:
        with av.open(io.BytesIO(), "w", format=kind) as trial:
            copy = _add_copy(stream, trial)
            trial.start_encoding()
            # Some say no at the end alone.
            packet = _first_packet(source, stream) if stream.type == "audio" else None
            if packet is not None:
                packet.stream = copy
                trial.mux(packet)
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _first_packet(source: Path, stream: av.stream.Stream) -> av.Packet | None:
    """The first packet of a stream that has data."""
    with open_container(source) as container:
        for packet in read_packets(container, container.streams[stream.index]):
            if packet.size:
                return packet
    return None


def _add_copy(stream: av.stream.Stream, output: av.container.OutputContainer) -> av.stream.Stream:
    """A stream of the output for the packets of another file's.

    Raises:
        ValueError: the output does not take it, or nobody knows its codec.
    """
    # A second angle would be taken for the clip, and a cover in containers that have no place for it.
    if stream.type == "video" and not (is_cover(stream) and output.format.name == "mp4"):
        raise ValueError("only one stream of frames is written")
    copy = output.add_stream_from_template(stream, opaque=True)
    if stream.type == "audio" and stream.layout.name.endswith("channels"):
        # Broadcasters' files only count them; others want to know which is left.
        copy.layout = LAYOUTS.get(stream.channels, stream.layout)
    _describe(stream, copy)
    return copy


def _attach(source: Path, cover: av.stream.Stream, output: av.container.OutputContainer) -> None:
    """Attaches a cover, as Matroska wants it."""
    data = bytes(_first_packet(source, cover) or b"")
    ending = {"mjpeg": "jpeg"}.get(cover.codec_context.name, cover.codec_context.name)
    name = cover.metadata.get("filename", f"cover.{ending}")
    output.add_attachment(name, cover.metadata.get("mimetype", f"image/{ending}"), data)


def _describe(stream: av.stream.Stream, copy: av.stream.Stream) -> None:
    """Gives a stream the language, the title and the like of another."""
    copy.metadata.update(_lasting(stream.metadata))
    copy.disposition = stream.disposition
    # FFmpeg reads the title of a track of an .mp4 by another name than it writes it.
    if "name" in copy.metadata:
        copy.metadata["title"] = copy.metadata.pop("name")
    language = stream.language
    if language is not None:
        if copy.container.format.name == "mov":
            copy.metadata["language"] = QUICKTIME_LANGUAGES.get(language, language)
        else:
            copy.metadata["language"] = ISO_LANGUAGES.get(language, language)


def _counts(timecode: str, rate: Fraction) -> bool:
    """Whether a timecode counts frames of a rate: numbers are dropped at 29.97 and 59.94 a second."""
    form = TIMECODE.fullmatch(timecode)
    return form is not None and (form[1] == ":" or round(rate) % 30 == 0)


def _lasting(metadata: Mapping[str, str]) -> dict[str, str]:
    """What is true of the new file as well."""
    return {name: text for name, text in metadata.items() if not OF_THE_FILE.fullmatch(name)}


def _copy_metadata(
    source: Path,
    container: av.container.InputContainer,
    output: av.container.OutputContainer,
    images: av.VideoStream,
) -> None:
    """Title, creation time, chapters, timecode, and what is said of the frames."""
    output.metadata.update(_lasting(container.metadata))
    if any(name.startswith("com.apple.") for name in output.metadata):
        # Telephones' own fields, which other writers ignore; without them the usual ones are written as usual.
        output.container_options["movflags"] = "use_metadata_tags"
    _describe(video_streams(container)[0], images)

    timecode = timecode_of(container)
    if timecode is not None and _counts(timecode, images.codec_context.framerate):
        images.metadata["timecode"] = timecode
        # An .mp4 keeps it only if asked.
        output.container_options["write_tmcd"] = "1"
    elif timecode is not None:
        logger.warning("%s: its timecode %s does not fit its frame rate.", source, timecode)

    chapters = container.chapters()
    begin = clock_of(container).shifts[0]
    for chapter in chapters:
        shift = round(begin / chapter["time_base"])
        chapter["start"] = max(chapter["start"] - shift, 0)
        chapter["end"] = max(chapter["end"] - shift, 0)
    output.set_chapters(chapters)
