"""Clips: decoding to upright RGB frames, from any part of the file, with their times."""

import collections
import itertools
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt16

from faceswap_jax.errors import InputError
from faceswap_jax.faces import film, sequence
from faceswap_jax.faces.container import (
    clock_of,
    open_container,
    read_packets,
    timecode_of,
    video_streams,
)
from faceswap_jax.faces.decoded import PLAIN, Decoded, Layout, guess_matrix, orientation_of
from faceswap_jax.faces.encoding import SRGB, Encoding
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.mastering import NO_MASTERING, Mastering, read_mastering
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, is_picture, is_silent
from faceswap_jax.faces.still import MAX_PIXELS, Orientation, read_still

CLIP_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".flv", ".wmv"}
    | {".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".mxf"}
)
SUFFIXES = PICTURE_SUFFIXES | CLIP_SUFFIXES

SQUARE = 1.01
"""How much longer one side of a pixel may be than the other to count as square."""

FLAT = 4
"""How much longer one side of a pixel can be than the other; anamorphic lenses and DVDs stay below 2."""

UNSPECIFIED = (2, 2, 2)
BT709 = (1, 1, 1)
"""Code points of primaries, transfer and matrix (ITU-T H.273)."""

NOT_LUMA = {
    10: "luminance (BT.2020, constant luminance)",
    13: "luminance (constant luminance)",
    14: "ICtCp",
    15: "IPT",
}
"""By code point of the matrix: what swscale would take for luma and colour differences."""

logger = logging.getLogger(__name__)


class NoFrames(InputError):
    """A clip has none in a stretch of time."""


@dataclass(frozen=True)
class VideoInfo:
    """What the header and the first frame of a clip tell.

    Attributes:
        width: of the upright frame, square pixels.
        height: of the upright frame, square pixels.
        rate: average frames per second.
        frames: number of frames; an estimate from duration and rate where the file does not tell.
        duration: seconds.
        orientation: how the stored frame becomes upright.
        has_audio: whether there is an audio stream.
        time_base: unit of the frame times, seconds.
        pixel_aspect: width over height of one pixel of the upright frame, as the clip has it.
        matrix: YUV matrix that decodes the frames, numbered as swscale does: 1 BT.709, 5 BT.601, 9 BT.2020, ...
        full_range: whether luma spans 0..255 instead of 16..235.
        tags: the file's own code points for primaries, transfer and matrix (ITU-T H.273; 2 is unspecified).
        encoding: how red, green and blue stand for colours.
        layout: of the planes that hold all of an upright frame.
        mastering: what the file says of the display that its HDR was made on.
        transparent: whether the frames have transparency, which nothing here reads.
    """

    width: int
    height: int
    rate: Fraction
    frames: int
    duration: float
    orientation: Orientation
    has_audio: bool
    time_base: Fraction
    pixel_aspect: Fraction
    matrix: int
    full_range: bool
    tags: tuple[int, int, int]
    encoding: Encoding = SRGB
    layout: Layout = PLAIN
    mastering: Mastering = NO_MASTERING
    transparent: bool = False


@dataclass(frozen=True)
class Frame:
    """One frame of a clip.

    Attributes:
        image: what is seen of it: upright, RGB, of square pixels.
        time: of presentation, seconds from the file's start, see `faces.container`: sound may come before the first
            frame.
        index: in the file, from 0, in presentation order.
        own: the image in the clip's own pixels, if these are not square, or if there are planes, too.
        decoded: the frame itself, if its codec gave planes of luma and colour.
    """

    image: Image | UInt16[np.ndarray, "h w 3"]
    time: float
    index: int
    own: Image | UInt16[np.ndarray, "a b 3"] | None = None
    decoded: Decoded | None = None


def probe(path: Path) -> VideoInfo:
    """Facts about a clip; a picture counts as a clip of one frame.

    Raises:
        InputError: as `read_frames`.
    """
    if is_picture(path):
        return _picture_info(path, tags=UNSPECIFIED)
    if sequence.is_sequence(path):
        pictures = sequence.open_sequence(path)
        first, last = pictures.first, max(pictures.pictures)
        return replace(
            _picture_info(pictures.pictures[first], tags=BT709),
            rate=pictures.rate,
            frames=len(pictures.pictures),
            duration=float((last - first + 1) / pictures.rate),
            time_base=1 / pictures.rate,
        )
    with _open(path) as (container, stream):
        return _info(container, stream, next(_decode(path, container, stream)))


def _picture_info(path: Path, tags: tuple[int, int, int]) -> VideoInfo:
    """Facts about a picture as a clip of one frame."""
    still = read_still(path)
    height, width = _size(*still.pixels.shape[:2], still.pixel_aspect)
    return VideoInfo(
        width=width,
        height=height,
        rate=Fraction(1),
        frames=1,
        duration=0.0,
        orientation=Orientation(),
        has_audio=False,
        time_base=Fraction(1),
        pixel_aspect=still.pixel_aspect,
        matrix=BT709[0] if tags == BT709 else guess_matrix(width, height),
        full_range=False,
        tags=tags,
    )


def read_frames(
    path: Path,
    *,
    start: float = 0.0,
    end: float = math.inf,
    depth: int = 8,
    colorspace: str | None = None,
) -> Iterator[Frame]:
    """Frames of a clip in presentation order, decoded as they are asked for; a picture is one frame at time 0.

    Numbered pictures are a clip, too, see `faces.sequence`.

    Times and indices count from the beginning of the file, whatever part of it is read. A damaged or cut off clip
    gives the frames that can be decoded; a warning in the log tells how many are missing.

    Args:
        path: of the clip.
        start: seconds, the first frame time that is given.
        end: seconds; frames before it are given.
        depth: bits per channel, 8 or 16. With 16, white is 65535: deeper sources keep their precision, and a value v
            of an 8-bit source becomes 257 v.
        colorspace: of a clip that does not tell its own, such as a camera's logarithm, see `film.check`.

    Raises:
        InputError: the file is missing, unreadable, empty, no video or interlaced, no frame can be decoded, or none
            lies between start and end; or there is no such colour space, or the clip is made of pictures. Like all of
            this, it comes with the first frame.
    """
    empty = True
    check_colorspace(path, colorspace)
    if is_picture(path):
        if start <= 0 < end:
            empty = False
            yield _picture_frame(path, 0.0, 0, depth)
    elif sequence.is_sequence(path):
        sequence.check(path)
        pictures = sequence.open_sequence(path)
        for index, (number, file) in enumerate(pictures.pictures.items()):
            time = pictures.time(number)
            if start <= time < end:
                empty = False
                yield _picture_frame(file, time, index, depth)
    else:
        reformatter = VideoReformatter()
        for index, frame, pixel_aspect in _numbered(path, start):
            if frame.time >= end:
                break
            if frame.time >= start or start <= 0:
                empty = False
                decoded = Decoded(frame, colorspace)
                yield _frame(decoded, frame.time, index, pixel_aspect, depth, reformatter)
    if empty:
        raise NoFrames(f"{path} has no frame from {start:g} s to {end:g} s; correct these times.")


def check_colorspace(path: Path, colorspace: str | None) -> None:
    """Raises InputError unless a clip can be told to be of a colour space, see `film.check`."""
    if colorspace is None:
        return
    film.check(colorspace)
    if is_silent(path):
        raise InputError(
            f"{path} is made of pictures, which say themselves what their colours are; leave --colorspace out."
        )


def _frame(
    decoded: Decoded,
    time: float,
    index: int,
    pixel_aspect: Fraction,
    depth: int,
    reformatter: VideoReformatter,
) -> Frame:
    """A decoded frame with its image."""
    own = decoded.image(depth, reformatter)
    image = in_square_pixels(own, pixel_aspect)
    if decoded.is_image:
        return Frame(image, time, index, None if image is own else own)
    return Frame(image, time, index, own, decoded)


def _picture_frame(path: Path, time: float, index: int, depth: int) -> Frame:
    """A picture as a frame."""
    still = read_still(path)
    own = still.encoding.shown(still.pixels, depth)
    image = in_square_pixels(own, still.pixel_aspect)
    return Frame(image, time, index, None if image is own else own)


def in_square_pixels(
    image: Image | UInt16[np.ndarray, "h w 3"], pixel_aspect: Fraction
) -> Image | UInt16[np.ndarray, "a b 3"]:
    """The image as it is shown, with square pixels; itself if its own are square.

    Args:
        image: in pixels that need not be square.
        pixel_aspect: width over height of one of these.
    """
    height, width = _size(*image.shape[:2], pixel_aspect)
    if (height, width) == image.shape[:2]:
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


def _size(height: int, width: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Height and width in square pixels. One side grows, so that nothing is lost."""
    # Rounded sizes make pixels that are all but square; beyond the other limit the file is wrong.
    if max(pixel_aspect, 1 / pixel_aspect) < SQUARE or not 1 / FLAT <= pixel_aspect <= FLAT:
        return height, width
    if pixel_aspect > 1:
        return height, round(width * pixel_aspect)
    return round(height / pixel_aspect), width


def frame_times(path: Path) -> list[float]:
    """Times of presentation of all frames of a clip, as `read_frames` gives them.

    Raises:
        InputError: as `read_frames`.
    """
    if is_picture(path):
        read_still(path)
        return [0.0]
    if sequence.is_sequence(path):
        pictures = sequence.open_sequence(path)
        return [pictures.time(number) for number in pictures.pictures]
    return [frame.time for _, frame, _ in _numbered(path, 0)]


def keyframe_time(path: Path, start: float) -> float | None:
    """Time in seconds of the frame at which `read_frames` begins to decode for `start`; None if with the first frame.

    Raises:
        InputError: as `read_frames`.
    """
    keyframe = _keyframe(path, start)
    if keyframe is None:
        return None
    with _open(path) as (_, stream):
        return float(keyframe[1] * stream.time_base)


def start_timecode(path: Path) -> str | None:
    """Timecode of a clip's first frame, such as "01:00:00:00"; None if the file has none."""
    if is_silent(path):
        return None
    with open_container(path) as container:
        return timecode_of(container)


def _info(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    frame: av.VideoFrame,
) -> VideoInfo:
    """Facts about a clip from its header and its first frame."""
    rate = _rate(stream)
    clock = clock_of(container)
    if clock.end is not None:
        duration = float(clock.end)
    elif stream.duration is not None:
        duration = float(stream.duration * stream.time_base)
    else:
        duration = (container.duration or 0) / av.time_base
    decoded = Decoded(frame)
    # An RGB clip has no matrix; its result does.
    tagged_matrix = decoded.matrix if frame.format.is_rgb else frame.colorspace

    width, height = frame.width, frame.height
    if decoded.orientation.transposed:
        width, height = height, width
    pixel_aspect = _pixel_aspect(stream, frame)
    height, width = _size(height, width, pixel_aspect)
    return VideoInfo(
        width=width,
        height=height,
        rate=rate,
        frames=stream.frames or round(duration * rate) or 1,
        duration=duration,
        orientation=decoded.orientation,
        has_audio=bool(container.streams.audio),
        time_base=stream.time_base,
        pixel_aspect=pixel_aspect,
        matrix=decoded.matrix,
        full_range=decoded.full_range,
        tags=(frame.color_primaries, frame.color_trc, tagged_matrix),
        encoding=decoded.encoding,
        layout=decoded.layout,
        mastering=read_mastering(frame),
        transparent=any(component.is_alpha for component in frame.format.components),
    )


def _rate(stream: av.video.stream.VideoStream) -> Fraction:
    return stream.average_rate or stream.guessed_rate or Fraction(25)


def _pixel_aspect(stream: av.video.stream.VideoStream, frame: av.VideoFrame) -> Fraction:
    """Width over height of one pixel of the upright frame."""
    stored = stream.sample_aspect_ratio or Fraction(1)
    return 1 / stored if orientation_of(frame).transposed else stored


def _numbered(path: Path, start: float) -> Iterator[tuple[int, av.VideoFrame, Fraction]]:
    """Indices of frames, the decoded frames, the aspect ratios of their upright pixels.

    The first frame is at or before `start`, or the first of the file.
    """
    keyframe = _keyframe(path, start) if start > 0 else None
    if keyframe:
        index, pts, dts = keyframe
        with _open(path) as (container, stream):
            clock = clock_of(container)
            for target in (pts, dts):  # some containers look for the one, some for the other
                with suppress(av.error.FFmpegError):
                    container.seek(clock.stamp(target, stream), stream=stream)
                frames = _decode(path, container, stream, whole=False)
                # Frames before the keyframe may lack the frames that they build on.
                following = (frame for frame in frames if frame.pts >= pts)
                first = next(following, None)
                if first is not None and first.pts == pts:
                    for number, frame in enumerate(itertools.chain([first], frames), index):
                        yield number, frame, _pixel_aspect(stream, frame)
                    return
    with _open(path) as (container, stream):
        for number, frame in enumerate(_decode(path, container, stream)):
            yield number, frame, _pixel_aspect(stream, frame)


def _keyframe(path: Path, start: float) -> tuple[int, int, int] | None:
    """Last keyframe at or before `start`: its index among the frames, pts and dts; None where packets do not tell.

    Reads packets without decoding them, which takes a hundredth of the time.
    """
    first = None  # pts of the first frame
    times = []  # pts of the packets
    key = None
    with _open(path) as (container, stream):
        # AVI has no presentation times, a clock that jumps has the same one twice.
        if container.format.name == "avi" or clock_of(container).jumps:
            return None
        for packet in read_packets(container, stream):
            # Packets before the first frame gave none.
            if first is None:
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    return None
                first = frames[0].pts if frames else None

            # Cut off by an edit list, or the end.
            if packet.is_discard or not packet.size:
                continue
            if packet.pts is None:
                return None
            # A frame is never decoded after its time.
            if packet.dts is not None and packet.dts * stream.time_base >= start:
                break

            times.append(packet.pts)
            is_before = packet.is_keyframe and packet.pts * stream.time_base <= start
            if is_before and (key is None or key.pts < packet.pts):
                key = packet
    if first is None or key is None:
        return None
    index = sum(first <= time < key.pts for time in times)
    return index, key.pts, key.pts if key.dts is None else key.dts


def _decode(
    path: Path,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    whole: bool = True,
) -> Iterator[av.VideoFrame]:
    """Frames that can be decoded, all of them with times; the log gets a warning if some cannot.

    Args:
        path: for messages.
        container: where to read on.
        stream: of the container.
        whole: whether it is read from its beginning.
    """
    count = 0  # frames
    damaged = 0  # packets
    hidden = 0  # packets that an edit list cuts off
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
            if frame.interlaced_frame:
                # A face that moves would be in two places.
                raise InputError(
                    f"{path} is interlaced: a frame shows two moments; make it progressive first, for example with "
                    "ffmpeg -i IN -vf bwdif -crf 12 -c:a copy OUT.mkv."
                )
            if frame.colorspace in NOT_LUMA:
                raise InputError(
                    f"{path} has planes of {NOT_LUMA[frame.colorspace]} in place of luma and colour differences; "
                    "convert it first, for example with "
                    "ffmpeg -i IN -vf zscale=m=2020_ncl -c:v libx265 -crf 8 -c:a copy OUT.mkv."
                )
            if times:
                frame.pts = times.popleft()
            if frame.pts is None:
                frame.pts = round(count / _rate(stream) / stream.time_base)
            count += 1
            yield frame

    if whole and count == 0:
        raise InputError(
            f"{path} holds no frame that can be decoded; export it again, for example as H.264."
        )
    # AVI counts repetitions.
    announced = stream.frames if whole and times is None else 0
    missing = max(damaged, announced - hidden - count)
    if missing > 0:
        logger.warning("%s is damaged or cut off: %d frames could not be decoded.", path, missing)


@contextmanager
def _open(path: Path) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """The opened clip and its video stream, with failures as sentences."""
    with open_container(path) as container:
        streams = video_streams(container)
        if not streams:
            raise InputError(f"{path} has no video; give a clip or a picture that shows a face.")
        stream = streams[0]
        if stream.codec_context is None:
            raise InputError(
                f"{path} is in a video format that FFmpeg cannot decode; export it again as H.264 mp4."
            )
        # Threads cost a fifth more work, and many clips are read at once.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        yield container, stream
