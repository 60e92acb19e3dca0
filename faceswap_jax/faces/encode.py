"""Clips: encoding, beside all else that the clip has.

What is kept of the frames: their times (variable frame rates too), depth, colour tags and range, pixel aspect ratio,
what is said of the display that HDR was made on. What changes: frames are written upright, without a display matrix; a
width or height that is odd grows by one repeated column or row, because colour has half the resolution.
An .mkv file cannot start before time zero, so there sound and images together start later by the sound's lead-in.
What else is kept, `remux` says.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from faceswap_jax.errors import InputError
from faceswap_jax.faces.decoded import PLAIN, SCALER, Layout
from faceswap_jax.faces.encoding import SRGB
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.mastering import NO_MASTERING, Mastering
from faceswap_jax.faces.remux import all_but_frames, sound_alone
from faceswap_jax.faces.still import Orientation
from faceswap_jax.faces.video import BT709, Frame, VideoInfo, in_square_pixels, probe
from faceswap_jax.files import replacing

logger = logging.getLogger(__name__)

OUTPUT_SUFFIXES = (".mp4", ".mov", ".mkv")


class Codec(NamedTuple):
    """How frames are encoded.

    Attributes:
        encoder: FFmpeg's name of it.
        options: of the encoder.
        colours: how many samples of colour it takes, see `decoded.Layout`.
        bits: of a sample that it takes.
        suffixes: of containers that take it.
        full_range: whether its luma may span 0..255 of 255.
        smallest: pixels that a side of a frame must have.
    """

    encoder: str
    options: dict[str, str]
    colours: tuple[str, ...] = ("420", "422", "444")
    bits: tuple[int, ...] = (8, 10)
    suffixes: tuple[str, ...] = OUTPUT_SUFFIXES
    full_range: bool = True
    smallest: int = 1


# Differences to the frames are hard to see with these constant rate factors. With 14 and veryfast x264 comes closer to
# the frames than with 16 and its usual preset, in two fifths of the time; files are a fifth to a half larger. With
# macroblock trees it makes other files of small frames each time, where it uses AVX-512. Encoding frames of 10 bits
# that are narrower than 64 pixels, x265 damages the memory of the process.
CODECS = {
    "h264": Codec("libx264", {"crf": "14", "preset": "veryfast", "mbtree": "0"}),
    "hevc": Codec("libx265", {"crf": "12", "preset": "veryfast"}, bits=(8, 10, 12), smallest=64),
    "prores": Codec(
        "prores_ks", {}, ("422", "444"), (10,), suffixes=(".mov", ".mkv"), full_range=False
    ),
}
"""By the name that users know."""

Rest = Callable[[av.container.OutputContainer, av.VideoStream], Iterator[av.Packet]]
"""Adds other streams to an output than that of the frames, and gives their packets."""


def write_video(
    path: Path,
    source: Path,
    frames: Iterable[Frame],
    *,
    whole: bool = False,
    codec: str | None = None,
) -> None:
    """Encodes frames beside all else of the clip they were made from.

    Frame times, depth, colour tags, range and pixel aspect ratio are the source's. The file appears under its name only
    when it is complete; it may be the source's own name.

    Args:
        path: file to write, .mp4, .mov or .mkv.
        source: clip that gave the frames.
        frames: upright frames of one size, in order of their times.
        whole: whether the frames show images of their own, with square pixels, and nothing of the source's.
        codec: one of `CODECS`; by default H.264 for frames of 8 bits, HEVC for deeper ones.

    Raises:
        InputError: the source cannot be read, the path cannot be written, the codec is unknown or does not fit there,
            or there are no frames.
    """
    with video_writer(path, source, whole=whole, codec=codec) as write:
        for frame in frames:
            write(frame)


@contextmanager
def video_writer(
    path: Path, source: Path, *, whole: bool = False, codec: str | None = None
) -> Iterator[Callable[[Frame], None]]:
    """`write_video` for frames that come one by one: gives what writes the next one.

    So several clips can be written from one reading of their source.
    """
    info = probe(source)
    if whole:
        info = _of_images(info)

    def rest(output: av.container.OutputContainer, images: av.VideoStream) -> Iterator[av.Packet]:
        return all_but_frames(source, output, images)

    with _writer(Path(path), source, info, rest, codec) as write:
        yield (lambda frame: write(replace(frame, own=None, decoded=None))) if whole else write


def check_codec(path: Path, codec: str | None) -> None:
    """Raises InputError unless there is such a codec, and the container that the path names takes it."""
    if codec is None:
        return
    if codec not in CODECS:
        raise InputError(f"There is no codec '{codec}'; choose one of {', '.join(CODECS)}.")
    suffixes = CODECS[codec].suffixes
    if path.suffix.lower() not in suffixes:
        raise InputError(
            f"'{path}' cannot hold the codec {codec}; choose a name that ends in {' or '.join(suffixes)}, or another "
            "--codec."
        )


def write_made(
    path: Path,
    frames: Iterable[Frame],
    side: int,
    rate: Fraction,
    sound: Path | None = None,
    codec: str | None = None,
) -> None:
    """Encodes square frames that were made from no clip; the file appears when it is complete.

    Args:
        path: file to write, .mp4, .mov or .mkv.
        frames: in order of their times.
        side: of a frame, pixels.
        rate: frames per second.
        sound: file whose sound goes along.
        codec: one of `CODECS`; by default H.264.

    Raises:
        InputError: the path cannot be written, the codec is unknown or does not fit there, or there are no frames.
    """
    info = VideoInfo(
        width=side,
        height=side,
        rate=rate,
        frames=0,
        duration=0.0,
        orientation=Orientation(),
        has_audio=False,
        time_base=1 / rate,
        pixel_aspect=Fraction(1),
        matrix=BT709[0],
        full_range=False,
        tags=BT709,
    )

    def rest(output: av.container.OutputContainer, _: av.VideoStream) -> Iterator[av.Packet]:
        return iter(()) if sound is None else sound_alone(sound, output)

    with _writer(path, sound, info, rest, codec) as write:
        for frame in frames:
            write(frame)


def _of_images(info: VideoInfo) -> VideoInfo:
    """Facts about a clip of whole images from those about the clip that they follow."""
    info = replace(info, pixel_aspect=Fraction(1), layout=PLAIN, mastering=NO_MASTERING)
    if info.encoding is SRGB:
        return info
    return replace(info, encoding=SRGB, tags=BT709, matrix=BT709[0], full_range=False)


@contextmanager
def _writer(
    path: Path, source: Path | None, info: VideoInfo, rest: Rest, codec: str | None
) -> Iterator[Callable[[Frame], None]]:
    """Encodes frames beside the rest of a clip; `source` is named if they do not go together."""
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise InputError(
            f"{path} has no suffix for video; choose one of {', '.join(OUTPUT_SUFFIXES)}."
        )
    check_codec(path, codec)
    with replacing(path) as aside:
        try:
            with av.open(f"file:{aside}", "w") as output:
                # Matroska would get a random name each time.
                output.flags |= av.container.Flags.bitexact.value
                muxer = _Muxer(output, source, info, rest, codec)
                yield muxer.write
                muxer.finish()
        except av.error.FFmpegError as error:
            # No permission, disk full, ...
            if isinstance(error, OSError):
                raise
            remedy = "choose another suffix" if source is None else f"export {source} again"
            raise InputError(f"{path} cannot be written ({error.strerror}); {remedy}.") from error


class _Muxer:
    """Encodes frames, and adds the rest, interleaved by time."""

    def __init__(
        self,
        output: av.container.OutputContainer,
        source: Path | None,
        info: VideoInfo,
        rest: Rest,
        codec: str | None,
    ) -> None:
        chosen = CODECS[codec or _usual_codec(info)]
        self._planes = info.matrix, info.full_range  # what samples of kept planes stand for
        if not chosen.full_range:
            info = replace(info, full_range=False)
        self._output = output
        self._source = source
        self._info = info
        self._codec = chosen
        self._layout = _fitting(info.layout, chosen)
        self._stream = _video_stream(output, info, chosen, self._layout)
        # In full range swscale truncates colour, a visible shift after a few generations; 12 bits make that negligible.
        wanted = self._layout.format
        formats = ("yuv420p12le", wanted) if info.full_range else (wanted,)
        # Each remembers its tables from frame to frame.
        self._scalers = {name: VideoReformatter() for name in formats}
        self._rest = rest(output, self._stream)
        self._packet = next(self._rest, None)
        self._shape: tuple[int, ...] | None = None  # of the first frame
        self._previous: int | None = None  # time of the last frame
        self._frames = 0
        self._damaged = 0  # packets of the rest

    def write(self, frame: Frame) -> None:
        """Adds the next frame, and the rest up to there."""
        info = self._info
        image = own_pixels(frame, info.pixel_aspect)
        shape = image.shape
        if self._shape is None:
            self._shape = shape
            self._check_size(*shape[:2])
            # Set before the first packet is written, which fixes the header. Odd sides grow by one.
            self._stream.codec_context.height = shape[0] + shape[0] % 2
            self._stream.codec_context.width = shape[1] + shape[1] % 2
        elif shape != self._shape:
            raise InputError(
                f"Frame {frame.index} of {self._source} has another size than the first; export the clip at one size."
            )
        self._write_rest(until=frame.time)

        decoded = frame.decoded
        # Clips of SDR may change matrix or range midway; the result has those of their beginning.
        if decoded is None or (decoded.matrix, decoded.full_range) != self._planes:
            encoded = _encodable(image, info, self._scalers)
        else:
            encoded = _fitted(decoded.changed(frame.own, image), info, self._layout)
        # ProRes says of each frame what others say of the stream.
        encoded.color_primaries, encoded.color_trc, encoded.colorspace = info.tags
        # Players and x264 want strictly increasing times.
        encoded.time_base = info.time_base
        encoded.pts = round(frame.time / info.time_base)
        if self._previous is not None:
            encoded.pts = max(encoded.pts, self._previous + 1)
        self._previous = encoded.pts
        encoded.duration = round(1 / info.rate / info.time_base)
        self._frames += 1
        self._output.mux(self._stream.encode(encoded))

    def _check_size(self, height: int, width: int) -> None:
        """Raises InputError if frames are too small for the codec."""
        smallest = self._codec.smallest
        if min(height, width) < smallest:
            raise InputError(
                f"Frames of {width} x {height} pixels are too small for HEVC, which takes {smallest} x {smallest} and "
                "more here; give --codec h264."
            )

    def finish(self) -> None:
        """Adds all that is left of the rest, and what the encoder holds.

        Raises:
            InputError: there was no frame.
        """
        if self._shape is None:
            raise InputError(f"{self._source} gave no frame to write.")
        self._write_rest(until=math.inf)
        packets = self._stream.encode(None)
        if self._frames < 3 and self._codec.encoder == "libx265":
            # It has not initialised their times of decoding (x265's issue 781), and such few frames keep their order.
            for packet in packets:
                packet.dts = packet.pts
        self._output.mux(packets)
        if self._damaged:
            logger.warning(
                "%s is damaged: %d packets of its sound are left out.", self._source, self._damaged
            )

    def _write_rest(self, until: float) -> None:
        """Copies packets up to a time in seconds."""
        while self._packet is not None and self._packet.dts * self._packet.time_base <= until:
            try:
                self._output.mux(self._packet)
            except (av.error.InvalidDataError, av.error.PatchWelcomeError):
                self._damaged += 1
            self._packet = next(self._rest, None)


def _usual_codec(info: VideoInfo) -> str:
    """The codec of results, if nobody chooses one."""
    is_small = min(info.width, info.height) < CODECS["hevc"].smallest
    return "h264" if info.layout.bits == 8 or is_small else "hevc"


def _fitting(layout: Layout, codec: Codec) -> Layout:
    """The layout that a codec takes instead: with as much colour and depth, if it has such."""
    colours = [colour for colour in codec.colours if colour >= layout.colour]
    depths = [bits for bits in codec.bits if bits >= layout.bits]
    return Layout(min(colours), min(depths, default=max(codec.bits)))


def _video_stream(
    output: av.container.OutputContainer, info: VideoInfo, codec: Codec, layout: Layout
) -> av.VideoStream:
    """A stream with the times and colours of the source."""
    options = codec.options | _said(codec, info.mastering)
    stream = output.add_stream(codec.encoder, rate=info.rate, options=options)
    context = stream.codec_context
    context.pix_fmt = layout.format
    context.time_base = info.time_base
    context.sample_aspect_ratio = info.pixel_aspect
    context.color_range = ColorRange.JPEG if info.full_range else ColorRange.MPEG
    context.color_primaries, context.color_trc, context.colorspace = info.tags
    if codec.encoder == "libx265" and output.format.name != "matroska":
        # Apple's players know no other name.
        context.codec_tag = "hvc1"
    return stream


def _said(codec: Codec, mastering: Mastering) -> dict[str, str]:
    """The encoder's option for what is said of HDR; ProRes has none."""
    if codec.encoder == "libx264":
        names, quiet = ("mastering-display", "cll"), []
    elif codec.encoder == "libx265":
        names, quiet = ("master-display", "max-cll"), ["log-level=error", "info=0"]
    else:
        return {}
    said = [f"{name}={text}" for name, text in zip(names, mastering, strict=True) if text]
    parameters = ":".join([*quiet, *said])
    return {f"{codec.encoder[3:]}-params": parameters} if parameters else {}


def _fitted(frame: av.VideoFrame, info: VideoInfo, layout: Layout) -> av.VideoFrame:
    """A frame in the codec's layout and range; itself if it has these."""
    color_range = ColorRange.JPEG if info.full_range else ColorRange.MPEG
    if (frame.format.name, frame.color_range) == (layout.format, color_range):
        return frame
    return frame.reformat(
        format=layout.format,
        src_colorspace=info.matrix,
        dst_colorspace=info.matrix,
        src_color_range=frame.color_range,
        dst_color_range=color_range,
        interpolation=SCALER,
    )


def own_pixels(frame: Frame, pixel_aspect: Fraction) -> Image:
    """The image of a frame in the pixels of its clip; only what was changed of it is resampled.

    Args:
        frame: as it was read, but for changes of its image.
        pixel_aspect: of what is written; where pixels are to be square, the image stays as it is.
    """
    if frame.own is None or pixel_aspect == 1:
        return frame.image
    height, width, _ = frame.own.shape
    change = frame.image.astype(np.int16) - in_square_pixels(frame.own, pixel_aspect)
    change = cv2.resize(change, (width, height), interpolation=cv2.INTER_AREA)
    return (frame.own + change).clip(0, 255).astype(np.uint8)


def _encodable(
    image: Image, info: VideoInfo, scalers: Mapping[str, VideoReformatter]
) -> av.VideoFrame:
    """A frame in the colours of the source, of even size.

    Args:
        image: of the frame.
        info: about the source.
        scalers: what makes one format after the other of it, the last of which is encoded.
    """
    height, width, _ = image.shape
    below = height % 2
    right = width % 2
    if below or right:
        image = np.pad(image, ((0, below), (0, right), (0, 0)), "edge")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    for name, scaler in scalers.items():
        frame = scaler.reformat(
            frame,
            format=name,
            dst_colorspace=info.matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG if info.full_range else ColorRange.MPEG,
            interpolation=SCALER,
        )
    return frame
