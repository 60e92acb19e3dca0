"""Files of clips and sound: opening them, the streams in them, and one clock for all of these.

Times count from the file's start, which is that of the stream that begins first, whatever number its clock shows there.
Where the clock jumps, as in joined transport streams, what follows is shown right after what came before, images and
sound together.
"""

import bisect
import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from faceswap_jax.errors import InputError
from faceswap_jax.files import readable

DEMUXERS = (
    "mov,matroska,avi,flv,asf,mpeg,mpegts,mpegvideo,mxf,ogg,nut,ivf,rm,dv,gif,apng,yuv4mpegpipe,h264,hevc,m4v,obu,"
    "mjpeg,wav,w64,caf,aiff,mp3,aac,flac"
)
"""FFmpeg's readers of clips and sound that read the file they are given, and no other: a playlist may name any."""

JUMPING = frozenset({"mpegts", "mpeg", "flv"})
"""FFmpeg's readers of files whose clock may jump; in others a jump is a pause."""

FORWARD = 10
"""Seconds; a clock that goes on by more has jumped. FFmpeg's limit."""

BACKWARD = Fraction(1, 10)
"""Seconds; a clock that goes back by more has jumped. FFmpeg's limit."""

OVERLAP = Fraction(1, 5)
"""Seconds of sound before a joint that may be cut so that images go on at once: codecs fill up their last packet."""


@dataclass(frozen=True)
class Clock:
    """When the packets of a file are, from its start.

    Attributes:
        shifts: seconds to take from the time stamps of each part; a file whose clock never jumps has one part.
        joints: bytes at which the other parts begin.
        end: seconds from the file's start; only of several parts, whose header tells of one.
    """

    shifts: Sequence[Fraction]
    joints: Sequence[int] = ()
    end: Fraction | None = None

    @property
    def jumps(self) -> bool:
        """Whether the file has several parts, so that its time stamps do not lead anywhere."""
        return bool(self.joints)

    def stamp(self, ticks: int, stream: av.stream.Stream) -> int:
        """The time stamp of a time in a file of one part, both in units of the stream."""
        return ticks + round(self.shifts[0] / stream.time_base)


@contextmanager
def open_container(path: Path) -> Iterator[av.container.InputContainer]:
    """The opened file, with failures as sentences.

    Raises:
        InputError: the file is missing, unreadable, empty, or holds neither pictures nor sound.
    """
    with readable(path):
        try:
            # With "file:" a colon in the name is no protocol. Titles may be in any encoding.
            container = av.open(
                f"file:{path}",
                container_options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
                metadata_errors="replace",
            )
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise InputError(
                f"{path} is damaged or not a video; export it again, for example as H.264 mp4."
            ) from error
        with container:
            yield container


def video_streams(container: av.container.InputContainer) -> list[av.video.stream.VideoStream]:
    """The moving pictures of a file: a picture attached to sound, such as a cover, is none."""
    return [stream for stream in container.streams.video if not is_cover(stream)]


def audio_stream(container: av.container.InputContainer) -> av.AudioStream | None:
    """The audio stream to listen to: FFmpeg's choice, or the first one that can be decoded; None if none can."""
    decodable = [stream for stream in container.streams.audio if stream.codec_context is not None]
    best = container.streams.best("audio")
    return best if best in decodable else next(iter(decodable), None)


def is_cover(stream: av.stream.Stream) -> bool:
    """Whether a video stream is a still picture beside the others."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def timecode_of(container: av.container.InputContainer) -> str | None:
    """Timecode of a clip's first frame, such as "01:00:00:00"; None if the file has none."""
    for metadata in [container.metadata, *(stream.metadata for stream in container.streams)]:
        for name, text in metadata.items():
            # Matroska's names have capitals.
            if name.lower() == "timecode":
                return text
    return None


def read_packets(
    container: av.container.InputContainer, *streams: av.stream.Stream
) -> Iterator[av.Packet]:
    """Packets of some streams as far as the file can be read; their times count from its start.

    After the last ones comes an empty one of each stream, which makes its decoder give what it holds.

    Raises:
        OSError: the disk fails.
    """
    clock = clock_of(container)
    # Streams may have reached different parts.
    parts = dict.fromkeys(streams, 0)
    for packet in _packets(container, streams):
        # AVI repeats a frame by an empty packet, which decoders misread.
        if packet.size == 0 and packet.dts is not None:
            continue
        # Not every packet says where it lies; the others of its stream come in order.
        if clock.jumps and packet.pos is not None and packet.pos >= 0:
            parts[packet.stream] = bisect.bisect(clock.joints, packet.pos)
        ticks = round(clock.shifts[parts[packet.stream]] / packet.time_base)
        if packet.pts is not None:
            packet.pts -= ticks
        if packet.dts is not None:
            packet.dts -= ticks
        yield packet


def clock_of(container: av.container.InputContainer) -> Clock:
    """The clock of an opened file.

    Raises:
        OSError: the disk fails.
    """
    if JUMPING.isdisjoint(container.format.name.split(",")):
        return Clock([_start(container)])
    path = container.name.removeprefix("file:")
    stat = os.stat(path)
    return _read_clock(path, stat.st_size, stat.st_mtime_ns)


def _start(container: av.container.InputContainer) -> Fraction:
    """Time stamp of the stream that begins first, seconds.

    Sound may begin before zero: what comes there only prepares its decoder, and players drop it.
    """
    starts = {
        stream: stream.start_time * stream.time_base
        for stream in _main_streams(container)
        if stream.start_time is not None
    }
    seen = [start for stream, start in starts.items() if stream.type == "video"]
    return max(min(starts.values(), default=Fraction(0)), min([*seen, Fraction(0)]))


def _main_streams(container: av.container.InputContainer) -> list[av.stream.Stream]:
    """Streams that give the file its clock; subtitles come now and then."""
    return [*video_streams(container), *container.streams.audio]


@dataclass
class _Track:
    """What the packets of a stream tell of the clock.

    Attributes:
        positions: bytes of the first and the last packet.
        jumps: bytes of the packets before and after each jump.
    """

    positions: tuple[int, int]
    jumps: list[tuple[int, int]] = field(default_factory=list)

    def confirms(self, before: int, after: int) -> bool:
        """Whether the clock may have jumped between these bytes."""
        first, last = self.positions
        goes_on = first <= before and after <= last
        return not goes_on or any(a < after and before < b for a, b in self.jumps)


@functools.lru_cache(maxsize=64)
def _read_clock(path: str, _size: int, _changed: int) -> Clock:
    """Finds where the clock of a file jumps, by its packets, without decoding; remembers it until the file changes."""
    with open_container(Path(path)) as container:
        shifts = [_start(container)]
        joints = _joints(container)
    if not joints:
        return Clock(shifts)

    with open_container(Path(path)) as container:
        parts = _parts(container, joints)
    for before, after in itertools.pairwise(parts):
        # Of each stream, images first: how much earlier the part may come without overlapping the one before.
        room = [after[i][0] - before[i][1] for i in sorted(before.keys() & after.keys())]
        closest = min(room)
        shifts.append(shifts[-1] + (room[0] if room[0] - closest < OVERLAP else closest))
    return Clock(shifts, joints, max(end for _, end in parts[-1].values()) - shifts[-1])


def _joints(container: av.container.InputContainer) -> list[int]:
    """Bytes at which the clock of a file has jumped: that of its images, or of sound alone.

    If only one of several streams jumps, it pauses, or is damaged.
    """
    main, *others = _tracks(container) or [_Track((0, 0))]
    joints = []
    for before, after in main.jumps:
        if all(other.confirms(before, after) for other in others):
            # The first packet of any stream behind the joint
            ends = [b for other in others for a, b in other.jumps if a < after and before < b]
            joints.append(min([after, *ends]))
    return joints


def _tracks(container: av.container.InputContainer) -> list[_Track]:
    """A track of each main stream that has packets."""
    tracks: dict[int, _Track] = {}
    due: dict[int, Fraction] = {}  # when the next packet of each stream should come
    streams = _main_streams(container)
    for packet in _packets(container, streams):
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None or packet.pos is None or packet.pos < 0:
            continue
        number, position = packet.stream_index, packet.pos
        time = stamp * packet.time_base
        track = tracks.setdefault(number, _Track((position, position)))
        expected = due.get(number, time)
        # Others need not jump as far as the main one.
        limit = 1 if packet.stream is streams[0] else 2
        if not expected - BACKWARD / limit <= time <= expected + FORWARD / limit:
            track.jumps.append((track.positions[1], position))
        track.positions = track.positions[0], position
        due[number] = time + _duration(packet)
    return [tracks[stream.index] for stream in streams if stream.index in tracks]


def _parts(
    container: av.container.InputContainer, joints: Sequence[int]
) -> list[dict[int, tuple[Fraction, Fraction]]]:
    """When each main stream begins and ends in each part of a file, seconds by its own clock; 0 are its images."""
    parts: list[dict[int, tuple[Fraction, Fraction]]] = [{} for _ in range(len(joints) + 1)]
    reached: dict[int, int] = {}
    streams = _main_streams(container)
    for packet in _packets(container, streams):
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None:
            continue
        number = streams.index(packet.stream)
        if packet.pos is not None and packet.pos >= 0:
            reached[number] = bisect.bisect(joints, packet.pos)
        time = stamp * packet.time_base
        part = parts[reached.setdefault(number, 0)]
        first, end = part.get(number, (time, time))
        part[number] = min(first, time), max(end, time + _duration(packet))
    return parts


def _duration(packet: av.Packet) -> Fraction:
    """Seconds."""
    if packet.duration:
        return packet.duration * packet.time_base
    stream = packet.stream
    rate = stream.average_rate or stream.guessed_rate if stream.type == "video" else None
    return 1 / rate if rate else Fraction(0)


def _packets(
    container: av.container.InputContainer, streams: Iterable[av.stream.Stream]
) -> Iterator[av.Packet]:
    """Packets with the file's own time stamps, as far as it can be read, and an empty one of each stream at the end."""
    streams = list(streams)
    # PyAV takes none for all.
    if not streams:
        return
    try:
        yield from container.demux(streams)
        return
    except IndexError:
        # From PyAV, after the last packet, if further streams turned up on the way.
        pass
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
    for stream in streams:
        last = av.Packet()
        last.stream = stream
        last.time_base = stream.time_base
        yield last
