"""Clips and pictures: decoding to upright RGB frames and encoding beside the untouched sound.

What is kept of a clip: frame times (variable frame rates too), colour tags and range, pixel aspect ratio, and every
audio stream packet by packet. What changes: frames are written upright, without rotation metadata; a width or height
that is odd grows by one repeated column or row, because H.264 halves the resolution of colour; channels have 8 bits,
though they can be read with 16; subtitles, data tracks and further video streams are left out. An .mkv file cannot
start before time zero, so there sound and picture together start later by the sound's lead-in.
"""

import collections
import io
import itertools
import logging
import math
import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from jaxtyping import UInt8, UInt16

from faceswap_jax.errors import InputError

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
CLIP_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts"})
SUFFIXES = PICTURE_SUFFIXES | CLIP_SUFFIXES

OUTPUT_SUFFIXES = (".mp4", ".mov", ".mkv")
CRF = 16
"""Constant rate factor of x264: differences to the frames are hard to see."""

# Without these flags swscale repeats colour samples instead of interpolating them, and truncates.
SCALER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

logger = logging.getLogger(__name__)

# What OpenCV has to say about a damaged picture goes to stderr in several lines; the exception says it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True)
class VideoInfo:
    """What the header and the first frame of a clip tell.

    Attributes:
        width: of the upright frame, pixels.
        height: of the upright frame, pixels.
        rate: average frames per second.
        frames: number of frames; an estimate from duration and rate where the file does not tell.
        duration: seconds.
        rotation: degrees counterclockwise that turn the stored frame upright: 0, 90, 180 or 270.
        has_audio: whether there is sound.
        time_base: unit of the frame times, seconds.
        pixel_aspect: width over height of one pixel of the upright frame.
        matrix: YUV matrix that decodes the frames, numbered as swscale does: 1 BT.709, 5 BT.601, 9 BT.2020, ...
        full_range: whether luma spans 0..255 instead of 16..235.
        tags: the file's own code points for primaries, transfer and matrix (ITU-T H.273; 2 is unspecified).
    """

    width: int
    height: int
    rate: Fraction
    frames: int
    duration: float
    rotation: int
    has_audio: bool
    time_base: Fraction
    pixel_aspect: Fraction
    matrix: int
    full_range: bool
    tags: tuple[int, int, int]


@dataclass(frozen=True)
class Frame:
    """One frame of a clip.

    Attributes:
        image: upright RGB picture.
        time: of presentation, seconds, as the file has it: the first frame may come later than 0.
        index: in the file, from 0, in presentation order.
    """

    image: UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"]
    time: float
    index: int


def is_picture(path: Path) -> bool:
    """Whether the file's name is that of a still picture."""
    return Path(path).suffix.lower() in PICTURE_SUFFIXES


def read_picture(path: Path, *, depth: int = 8) -> UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"]:
    """Picture, upright by its EXIF orientation, as RGB; transparency is dropped.

    Args:
        path: of the picture.
        depth: bits per channel, 8 or 16, as in `read_frames`.

    Raises:
        InputError: the file is missing, unreadable, no picture, or claims more pixels than any camera has.
    """
    with _readable(path):
        encoded = np.fromfile(path, np.uint8)
    try:
        with warnings.catch_warnings(action="ignore"):
            PIL.Image.open(io.BytesIO(encoded)).close()
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB | (cv2.IMREAD_ANYDEPTH if depth == 16 else 0))
    except PIL.Image.DecompressionBombError as error:
        limit = 2 * PIL.Image.MAX_IMAGE_PIXELS // 10**6
        raise InputError(f"{path} claims more than {limit} million pixels; scale it down or leave it out.") from error
    except (OSError, ValueError, SyntaxError, cv2.error):  # Pillow's and OpenCV's ways to say it
        image = None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path} is damaged or not a picture; export it again, for example as PNG.")
    return image * np.uint16(257) if depth == 16 and image.dtype == np.uint8 else image


def write_picture(path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Writes a picture in the format that the suffix names (JPEG and WebP at quality 95).

    Raises:
        InputError: an unknown suffix, or the folder cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise InputError(f"{path} has no picture's suffix; choose one of {', '.join(sorted(PICTURE_SUFFIXES))}.")
    quality = {".webp": cv2.IMWRITE_WEBP_QUALITY, ".jpg": cv2.IMWRITE_JPEG_QUALITY, ".jpeg": cv2.IMWRITE_JPEG_QUALITY}
    options = [quality[suffix], 95] if suffix in quality else []
    _, encoded = cv2.imencode(suffix, image[..., ::-1], options)
    with _aside(path) as aside:
        encoded.tofile(aside)


def probe(path: Path) -> VideoInfo:
    """Facts about a clip; a picture counts as a clip of one frame.

    Raises:
        InputError: as `read_frames`.
    """
    if is_picture(path):
        height, width = read_picture(path).shape[:2]
        one = Fraction(1)
        return VideoInfo(width, height, one, 1, 0.0, 0, False, one, one, _guess_matrix(width, height), False, (2, 2, 2))
    with _open(path) as (container, stream):
        return _info(container, stream, next(_decode(path, container, stream)))


def read_frames(path: Path, *, start: float = 0.0, end: float = math.inf, depth: int = 8) -> Iterator[Frame]:
    """Frames of a clip in presentation order, decoded as they are asked for; a picture is one frame at time 0.

    Times and indices count from the beginning of the file, whatever part of it is read. A damaged or cut off clip
    gives the frames that can be decoded; a warning in the log tells how many are missing.

    Args:
        path: of the clip.
        start: seconds, the first frame time that is given.
        end: seconds; frames before it are given.
        depth: bits per channel, 8 or 16. With 16, white is 65535: deeper sources keep their precision, and a value v
            of an 8-bit source becomes 257 v.

    Raises:
        InputError: the file is missing, unreadable, empty, no video, no frame can be decoded, or none lies between
            start and end. Like all of this, it comes with the first frame.
    """
    empty = True
    if is_picture(path):
        if start <= 0 < end:
            empty = False
            yield Frame(read_picture(path, depth=depth), 0.0, 0)
    else:
        reformatter = VideoReformatter()
        for index, frame in _numbered(path, start):
            if frame.time >= end:
                break
            if frame.time >= start or start <= 0:
                empty = False
                yield Frame(_to_rgb(frame, depth, reformatter), frame.time, index)
    if empty:
        raise InputError(f"{path} has no frame from {start:g} s to {end:g} s; correct these times.")


def write_video(path: Path, source: Path, frames: Iterable[Frame]) -> None:
    """Encodes frames as H.264 beside the sound of the clip they were made from.

    Frame times, colour tags, range and pixel aspect ratio are the source's; its audio packets are copied unchanged.
    The file appears under its name only when it is complete; it may be the source's own name.

    Args:
        path: file to write, .mp4, .mov or .mkv.
        source: clip that gave the frames.
        frames: upright frames of one size, in order of their times.

    Raises:
        InputError: the source cannot be read, the path cannot be written, or there are no frames.
    """
    path = Path(path)
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise InputError(f"{path} has no suffix for H.264 video; choose one of {', '.join(OUTPUT_SUFFIXES)}.")
    info = probe(source)
    with _aside(path) as aside:
        try:
            with av.open(f"file:{aside}", "w") as output:
                _mux(output, source, info, frames)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):  # no permission, disk full, ...
                raise
            raise InputError(
                f"{path} cannot be written ({error.strerror}); the sound of {source} may not fit into this kind of "
                "file: try the suffix .mkv."
            ) from error


def _mux(output: av.container.OutputContainer, source: Path, info: VideoInfo, frames: Iterable[Frame]) -> None:
    """Encodes the frames and copies the audio packets, interleaved by time."""
    video = output.add_stream("libx264", rate=info.rate, options={"crf": str(CRF)})
    context = video.codec_context
    context.pix_fmt = "yuv420p"
    context.time_base = info.time_base
    context.sample_aspect_ratio = info.pixel_aspect
    context.color_range = ColorRange.JPEG if info.full_range else ColorRange.MPEG
    context.color_primaries, context.color_trc, context.colorspace = info.tags
    audio = _audio_packets(source, output)
    packet = next(audio, None)
    first = previous = None
    for frame in frames:
        if first is None:
            first = frame.image.shape
            # Set before the first packet is written, which fixes the header.
            context.height, context.width = (side + side % 2 for side in first[:2])
        elif frame.image.shape != first:
            raise InputError(
                f"Frame {frame.index} of {source} has another size than the first; export the clip at one size."
            )
        while packet is not None and packet.dts * packet.time_base <= frame.time:
            output.mux(packet)
            packet = next(audio, None)
        encoded = _encodable(frame.image, info)
        encoded.time_base = info.time_base
        encoded.pts = round(frame.time / info.time_base)
        if previous is not None:
            encoded.pts = max(encoded.pts, previous + 1)  # players and x264 want strictly increasing times
        previous = encoded.pts
        encoded.duration = round(1 / info.rate / info.time_base)
        output.mux(video.encode(encoded))
    if first is None:
        raise InputError(f"{source} gave no frame to write.")
    while packet is not None:
        output.mux(packet)
        packet = next(audio, None)
    output.mux(video.encode(None))


def _audio_packets(source: Path, output: av.container.OutputContainer) -> Iterator[av.Packet]:
    """Audio packets of the source, addressed to streams of the output that the first call of next() adds."""
    if is_picture(source):
        return
    with _open(source) as (container, _):
        streams = {stream.index: output.add_stream_from_template(stream) for stream in container.streams.audio}
        if not streams:
            return
        for packet in container.demux(container.streams.audio):
            if packet.dts is not None:  # the end of a stream
                packet.stream = streams[packet.stream.index]
                yield packet


def _encodable(image: UInt8[np.ndarray, "h w 3"], info: VideoInfo) -> av.VideoFrame:
    """A frame in the colours of the source, of even size."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    # In full range swscale truncates colour, a visible shift after a few generations; 12 bits make that negligible.
    for pixel_format in ("yuv420p12le", "yuv420p") if info.full_range else ("yuv420p",):
        frame = frame.reformat(
            format=pixel_format,
            dst_colorspace=info.matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG if info.full_range else ColorRange.MPEG,
            interpolation=SCALER,
        )
    return frame


def _info(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, frame: av.VideoFrame
) -> VideoInfo:
    """Facts about a clip from its header and its first frame."""
    rate = _rate(stream)
    if stream.duration is not None:
        duration = float(stream.duration * stream.time_base)
    else:
        duration = (container.duration or 0) / av.time_base
    rotation = _rotation(frame)
    width, height = frame.width, frame.height
    pixel_aspect = stream.codec_context.sample_aspect_ratio or Fraction(1)
    if rotation % 180:
        width, height, pixel_aspect = height, width, 1 / pixel_aspect
    matrix = _matrix(frame)
    return VideoInfo(
        width=width,
        height=height,
        rate=rate,
        frames=stream.frames or round(duration * rate) or 1,
        duration=duration,
        rotation=rotation,
        has_audio=bool(container.streams.audio),
        time_base=stream.time_base,
        pixel_aspect=pixel_aspect,
        matrix=matrix,
        full_range=_is_full_range(frame),
        # An RGB clip has no matrix; its result does.
        tags=(frame.color_primaries, frame.color_trc, matrix if frame.format.is_rgb else frame.colorspace),
    )


def _rate(stream: av.video.stream.VideoStream) -> Fraction:
    return stream.average_rate or stream.guessed_rate or Fraction(25)


def _rotation(frame: av.VideoFrame) -> int:
    return round(frame.rotation / 90) * 90 % 360


def _matrix(frame: av.VideoFrame) -> int:
    return SWSCALE_MATRICES.get(frame.colorspace) or _guess_matrix(frame.width, frame.height)


def _is_full_range(frame: av.VideoFrame) -> bool:
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")


SWSCALE_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""swscale's number for each matrix that it knows, by code point."""


def _guess_matrix(width: int, height: int) -> int:
    """Matrix of an untagged clip, by players' custom: BT.709 from 720p on, else BT.601."""
    return 1 if max(width, height) >= 1280 or min(width, height) > 576 else 5


def _to_rgb(
    frame: av.VideoFrame, depth: int, reformatter: VideoReformatter
) -> UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"]:
    """The upright picture of a decoded frame."""
    bits, full_range = max(component.bits for component in frame.format.components), _is_full_range(frame)
    deep = depth == 16 and bits > 8
    # swscale interpolates colour with vector instructions only if the result is planar; merged, it is three times as
    # fast as packed RGB and the same to the bit.
    planar = reformatter.reformat(
        frame,
        format="gbrp16le" if deep else "gbrp",
        src_colorspace=_matrix(frame),
        src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=SCALER,
        threads=1,
    )
    planes = (np.frombuffer(plane, "<u2" if deep else np.uint8).reshape(frame.height, -1) for plane in planar.planes)
    green, blue, red = (plane[:, : frame.width] for plane in planes)
    image = cv2.merge((red, green, blue))
    if deep:
        # swscale shifts values to 16 bits, so that white falls short of 65535.
        white = 2**16 - 2 ** (16 - min(bits, 16)) if full_range or frame.format.is_rgb else 255 << 8
        image = cv2.addWeighted(image, 65535 / white, image, 0, 0)
    elif depth == 16:
        image = image * np.uint16(257)
    return np.ascontiguousarray(np.rot90(image, _rotation(frame) // 90))


def _numbered(path: Path, start: float) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decoded frames and their indices; the first is at or before `start`, or the first of the file."""
    keyframe = _keyframe(path, start) if start > 0 else None
    if keyframe:
        index, pts, dts = keyframe
        with _open(path) as (container, stream):
            for target in (pts, dts):  # some containers look for the one, some for the other
                with suppress(av.error.FFmpegError):
                    container.seek(target, stream=stream)
                frames = _decode(path, container, stream, whole=False)
                # Frames before the keyframe may lack the frames that they build on.
                first = next((frame for frame in frames if frame.pts >= pts), None)
                if first is not None and first.pts == pts:
                    yield from enumerate(itertools.chain([first], frames), index)
                    return
    with _open(path) as (container, stream):
        yield from enumerate(_decode(path, container, stream))


def _keyframe(path: Path, start: float) -> tuple[int, int, int] | None:
    """Last keyframe at or before `start`: its index among the frames, pts and dts; None where packets do not tell.

    Reads packets without decoding them, which takes a hundredth of the time.
    """
    first, times, key = None, [], None
    with _open(path) as (container, stream):
        if container.format.name == "avi":  # no presentation times
            return None
        for packet in read_packets(container, stream):
            if first is None:
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    return None
                if frames and frames[0].interlaced_frame:  # a packet may be half a frame
                    return None
                first = frames[0].pts if frames else None  # packets before it gave no frame
            if packet.is_discard or not packet.size:  # cut off by an edit list; the end
                continue
            if packet.pts is None:
                return None
            if packet.dts is not None and packet.dts * stream.time_base >= start:
                break  # a frame is never decoded after its time
            times.append(packet.pts)
            if packet.is_keyframe and packet.pts * stream.time_base <= start and (not key or key.pts < packet.pts):
                key = packet
    if first is None or key is None:
        return None
    return sum(first <= time < key.pts for time in times), key.pts, key.pts if key.dts is None else key.dts


def read_packets(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream | av.AudioStream
) -> Iterator[av.Packet]:
    """Packets of a stream as far as the file can be read, and an empty one that makes the decoder give what it holds.

    Raises:
        OSError: the disk fails.
    """
    try:
        for packet in container.demux(stream):
            if packet.size or packet.dts is None:  # AVI repeats a frame by an empty packet, which decoders misread
                yield packet
        return
    except IndexError:  # PyAV, after the last packet, if further streams turned up on the way
        pass
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
    last = av.Packet()
    last.stream, last.time_base = stream, stream.time_base
    yield last


def _decode(
    path: Path, container: av.container.InputContainer, stream: av.video.stream.VideoStream, whole: bool = True
) -> Iterator[av.VideoFrame]:
    """Frames that can be decoded, all of them with times; the log gets a warning if some cannot.

    Args:
        path: for messages.
        container: where to read on.
        stream: of the container.
        whole: whether it is read from its beginning.
    """
    count, damaged, hidden = 0, 0, 0
    # AVI stores no times of presentation: the first frame is shown when the first packet comes, and so on.
    times = collections.deque() if container.format.name == "avi" else None
    for packet in read_packets(container, stream):
        hidden += packet.is_discard
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damaged += 1
            continue
        if times is not None and packet.dts is not None:
            times.append(packet.dts)
        for frame in frames:
            if times:
                frame.pts = times.popleft()
            if frame.pts is None:
                frame.pts = round(count / _rate(stream) / stream.time_base)
            count += 1
            yield frame
    if whole and count == 0:
        raise InputError(f"{path} holds no frame that can be decoded; export it again, for example as H.264.")
    announced = stream.frames if whole and times is None else 0  # AVI counts repetitions
    missing = max(damaged, announced - hidden - count)
    if missing > 0:
        logger.warning("%s is damaged or cut off: %d frames could not be decoded.", path, missing)


@contextmanager
def open_container(path: Path) -> Iterator[av.container.InputContainer]:
    """The opened file, with failures as sentences.

    Raises:
        InputError: the file is missing, unreadable, empty, or holds neither pictures nor sound.
    """
    with _readable(path):
        try:
            # With "file:" a colon in the name is no protocol. Titles may be in any encoding.
            container = av.open(f"file:{path}", metadata_errors="replace")
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise InputError(f"{path} is damaged or not a video; export it again, for example as H.264 mp4.") from error
        with container:
            yield container


@contextmanager
def _open(path: Path) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """The opened clip and its video stream, with failures as sentences."""
    with open_container(path) as container:
        # A picture attached to sound, such as a cover, is not a video.
        attached = av.stream.Disposition.attached_pic
        stream = next((s for s in container.streams.video if not s.disposition & attached), None)
        if stream is None or container.format.name == "tty":  # FFmpeg shows text as video
            raise InputError(f"{path} has no video; give a clip or a picture that shows a face.")
        if stream.codec_context is None:
            raise InputError(f"{path} is in a video format that FFmpeg cannot decode; export it again as H.264 mp4.")
        # Threads cost a fifth more work, and many clips are read at once.
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        yield container, stream


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns the failures of opening and reading a file into sentences."""
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a folder; give one file.")
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device may never end
            raise InputError(f"{path} is a pipe or a device; give a file.")
        if status.st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy or export it again.")
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check its name.") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read; give yourself permission, for example with chmod u+r.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); copy it again.") from error


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it at the end, removed if anything fails."""
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}; make it first.")
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); check its folder.") from error
    finally:
        aside.unlink(missing_ok=True)
