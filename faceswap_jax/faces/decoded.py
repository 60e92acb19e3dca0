"""Decoded frames: what is seen of their numbers, and a change of that put back into these numbers.

They are kept as their codec gave them, planes of luma and colour in their own depth: only what a change of the image
touches is changed there.
"""

import math
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from jaxtyping import Float32, Float64, Shaped, UInt16

from faceswap_jax.faces import film, tagged
from faceswap_jax.faces.encoding import SRGB, Encoding
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.still import Orientation

# Without these flags swscale repeats colour samples instead of interpolating them, and truncates.
SCALER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

SWSCALE_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""swscale's number for each matrix that it knows, by code point."""

LUMA = {
    1: (0.2126, 0.0722),
    4: (0.3, 0.11),
    5: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Red's and blue's part of luma, by swscale's number of the matrix."""

DEPTHS = (8, 10, 12)
"""Bits of the planes in which frames are kept."""


class Layout(NamedTuple):
    """Planes of luma and two of colour.

    Attributes:
        colour: "420", "422" or "444": how many samples of colour there are.
        bits: of a sample, one of `DEPTHS`.
    """

    colour: str
    bits: int

    @property
    def format(self) -> str:
        """FFmpeg's name of it."""
        return f"yuv{self.colour}p" + (f"{self.bits}le" if self.bits > 8 else "")

    @property
    def steps(self) -> tuple[int, int]:
        """Rows and columns of luma to one of colour."""
        return 2 if self.colour == "420" else 1, 1 if self.colour == "444" else 2


PLAIN = Layout("420", 8)
"""Of results that show images of eight bits, whatever their source has."""


MIDDLE = np.array([[1, 2, 1]]) / 4
"""Weights of pixels in a sample of colour that sits at the middle one."""


class Decoded:
    """A frame as its codec gave it.

    Attributes:
        orientation: how it becomes upright.
        encoding: how its red, green and blue stand for colours.
        matrix: that gives these, numbered as swscale does: 1 BT.709, 5 BT.601, 9 BT.2020, ...
        full_range: whether luma spans 0..255 of 255, instead of 16..235.
        bits: of a sample.
        colour: "420", "422" or "444", how many samples of colour the upright frame has, at least.
    """

    def __init__(self, frame: av.VideoFrame, colorspace: str | None = None) -> None:
        """See the class.

        Args:
            frame: of FFmpeg's decoder.
            colorspace: of its red, green and blue, see `film.check`; by default what its tags tell.
        """
        self._frame = frame
        self.orientation = orientation_of(frame)
        self.matrix = _matrix(frame)
        is_full = frame.color_range == ColorRange.JPEG
        self.full_range = is_full or frame.format.name.startswith("yuvj")
        self.encoding = self._encoding(colorspace)
        self.bits = max(component.bits for component in frame.format.components)
        self.colour = _colour(frame, self.orientation.transposed)

    @property
    def is_plain(self) -> bool:
        """Whether eight bits of sRGB show all that it has."""
        return self.bits <= 8 and self.encoding is SRGB

    @property
    def is_image(self) -> bool:
        """Whether it is an image of eight bits already, without planes of luma and colour."""
        form = self._frame.format
        return self.is_plain and (form.is_rgb or form.has_palette)

    @property
    def kind(self) -> tuple:
        """What all frames of a clip share: layout, and if they are not plain range, matrix, primaries and transfer."""
        if self.is_plain:
            return (self.layout,)
        frame = self._frame
        tags = frame.color_primaries, frame.color_trc
        return self.layout, self.full_range, self.matrix, *tags

    @property
    def layout(self) -> Layout:
        """Of upright planes that hold all of it."""
        if self.is_plain:
            return PLAIN
        return Layout(self.colour, next((n for n in DEPTHS if n >= self.bits), DEPTHS[-1]))

    def image(
        self, depth: int, reformatter: VideoReformatter
    ) -> Image | UInt16[np.ndarray, "h w 3"]:
        """What is seen of it, upright.

        Args:
            depth: bits per channel, 8 or 16.
            reformatter: what FFmpeg's scaler remembers from frame to frame.
        """
        if self.encoding is SRGB:
            return self._pixels(depth, reformatter)
        pixels = self._pixels(8 if self.bits <= 8 else 16, reformatter)
        return self.encoding.shown(pixels, depth)

    def changed(self, before: Image, after: Image) -> av.VideoFrame:
        """Its planes after a change of what is seen, upright; an odd side grows by one repeated row or column.

        Where nothing is changed, all samples stay as they are; two to six pixels may share one of colour.

        Args:
            before: what `image` gave.
            after: what is to be seen.
        """
        layout = self.layout
        frame = self._upright(layout)
        size = frame.height, frame.width
        box = _changed_box(before, after, size, layout.steps)
        if box is None:
            return frame

        before, after = (_grown(image, *size)[box] for image in (before, after))
        change = cv2.transform(
            self._change(before, after, box, size), self._to_samples(layout.bits)
        )
        luma, *colours = _planes(frame)
        _add(luma[box], change[..., 0], layout.bits)
        colour = change[..., 1:]
        if layout.colour != "444" and _sits_left(self._frame):
            colour = self._at_left_pixels(colour)
        for number, plane in enumerate(colours):
            part = plane[_reduced(box, layout.steps)]
            # The mean of those pixels that are left
            moved = cv2.resize(colour[..., number], part.shape[::-1], interpolation=cv2.INTER_AREA)
            _add(part, moved, layout.bits)
        return frame

    def _change(
        self, before: Image, after: Image, box: tuple[slice, slice], size: tuple[int, int]
    ) -> Float32[np.ndarray, "h w 3"]:
        """The change of its own red, green and blue in a box of the upright frame; white is 65535."""
        if self.encoding is SRGB:
            return 257 * cv2.subtract(after, before, dtype=cv2.CV_32F)
        where = (before != after).any(2)
        pixels = _grown(self._pixels(16, VideoReformatter()), *size)[box][where]
        change = np.zeros((*where.shape, 3), np.float32)
        change[where] = self.encoding.moved(pixels, before[where], after[where]) - pixels
        return change

    def _at_left_pixels(self, colour: Float32[np.ndarray, "h w 2"]) -> Float32[np.ndarray, "a b 2"]:
        """Colour where samples sit, at those pixels that are the left ones of two as stored."""
        transposed, left_to_right, top_to_bottom = self.orientation
        if transposed:
            smooth = cv2.filter2D(colour, -1, MIDDLE.T, borderType=cv2.BORDER_CONSTANT)
            return smooth[int(top_to_bottom) :: 2]
        smooth = cv2.filter2D(colour, -1, MIDDLE, borderType=cv2.BORDER_CONSTANT)
        return smooth[:, int(left_to_right) :: 2]

    def _encoding(self, colorspace: str | None) -> Encoding:
        if colorspace is None:
            return tagged.encoding_of(self._frame.color_primaries, self._frame.color_trc)
        return film.encoding_of(colorspace, self.full_range)

    def _pixels(
        self, depth: int, reformatter: VideoReformatter
    ) -> Image | UInt16[np.ndarray, "h w 3"]:
        """Its own red, green and blue, upright."""
        frame = self._frame
        deep = depth == 16 and self.bits > 8

        # swscale interpolates colour with vector instructions only if the result is planar; merged, it is three times
        # as fast as packed RGB and the same to the bit.
        planar = reformatter.reformat(
            frame,
            format="gbrp16le" if deep else "gbrp",
            src_colorspace=self.matrix,
            src_color_range=self._range,
            dst_color_range=ColorRange.JPEG,
            interpolation=SCALER,
            threads=1,
        )
        green, blue, red = _planes(planar)
        image = cv2.merge((red, green, blue))

        if deep:
            # swscale shifts values to 16 bits, so that white falls short of 65535.
            full_white = 2**16 - 2 ** (16 - min(self.bits, 16))
            white = full_white if self.full_range or frame.format.is_rgb else 255 << 8
            image = cv2.addWeighted(image, 65535 / white, image, 0, 0)
        elif depth == 16:
            image = image * np.uint16(257)
        return self.orientation.apply(image)

    def _upright(self, layout: Layout) -> av.VideoFrame:
        """A copy of its planes, of even size."""
        stored = self._frame
        # As stored, colour may be where no layout has it, or packed, or in another depth.
        if stored.format.name.replace("yuvj", "yuv") != layout.format:
            stored = VideoReformatter().reformat(
                stored,
                format=layout.format,
                src_colorspace=self.matrix,
                dst_colorspace=self.matrix,
                src_color_range=ColorRange.JPEG if stored.format.is_rgb else self._range,
                dst_color_range=self._range,
                interpolation=SCALER,
            )
        height, width = stored.height, stored.width
        if self.orientation.transposed:
            height, width = width, height
        frame = av.VideoFrame(width + width % 2, height + height % 2, layout.format)
        frame.color_range = self._range
        for plane, old in zip(_planes(frame), _planes(stored), strict=True):
            old = self.orientation.apply(old)
            plane[:] = _grown(old, *plane.shape)
        return frame

    @property
    def _range(self) -> ColorRange:
        return ColorRange.JPEG if self.full_range else ColorRange.MPEG

    def _to_samples(self, bits: int) -> Float64[np.ndarray, "3 3"]:
        """The matrix from red, green and blue, 65535 being white, to the samples of luma and colour."""
        red, blue = LUMA[self.matrix]
        luma = np.array([red, 1 - red - blue, blue])
        to_blue = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
        to_red = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
        limited = np.array([219, 224, 224]) * 2 ** (bits - 8)
        units = np.full(3, 2**bits - 1) if self.full_range else limited
        return np.stack([luma, to_blue, to_red]) * units[:, None] / 65535


def side_data_of(frame: av.VideoFrame) -> SideDataContainer:
    """What FFmpeg tells beside the samples.

    `frame.side_data` would be kept by the frame that it keeps: the memory of both waits for Python's garbage collector.
    """
    return SideDataContainer(frame)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """What the file's display matrix says, to the next quarter of a turn."""
    # A stored point (x, y) is shown at (a x + c y, b x + d y).
    try:
        matrix = np.frombuffer(side_data_of(frame)["DISPLAYMATRIX"], np.int32).reshape(3, 3)
        (a, b), (c, d) = matrix[:2, :2].tolist()
    except KeyError:
        return Orientation()
    except ValueError:
        # PyAV gives only the angle of frames with side data that it does not know, such as EXIF.
        angle = math.radians(frame.rotation)
        a, b, c, d = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    if abs(a) + abs(d) < abs(b) + abs(c):
        return Orientation(True, left_to_right=c < 0, top_to_bottom=b < 0)
    return Orientation(False, left_to_right=a < 0, top_to_bottom=d < 0)


def _matrix(frame: av.VideoFrame) -> int:
    known = SWSCALE_MATRICES.get(frame.colorspace)
    if known is None and tagged.WIDE.get(frame.color_primaries) is tagged.BT2020:
        return 9
    return known or guess_matrix(frame.width, frame.height)


def guess_matrix(width: int, height: int) -> int:
    """Matrix of an untagged clip, by players' custom: BT.709 from 720p on, else BT.601."""
    return 1 if max(width, height) >= 1280 or min(width, height) > 576 else 5


def _colour(frame: av.VideoFrame, is_transposed: bool) -> str:
    """How many samples of colour an upright frame needs for all that a stored one has, see `Layout`."""
    form = frame.format
    if form.is_rgb:
        return "444"
    if len(form.components) < 3:
        return "420"
    steps = 64 // form.chroma_height(64), 64 // form.chroma_width(64)
    # Of a frame on its side, half the columns would become half the rows.
    if steps == (1, 2) and not is_transposed:
        return "422"
    return "420" if steps == (2, 2) else "444"


def _planes(frame: av.VideoFrame) -> list[Shaped[np.ndarray, "_ _"]]:
    """Views of a frame's planes."""
    kind = np.uint8 if frame.format.components[0].bits == 8 else np.dtype("<u2")
    planes = []
    for plane in frame.planes:
        values = np.frombuffer(plane, kind)
        planes.append(values.reshape(plane.height, -1)[:, : plane.width])
    return planes


def _grown(image: Shaped[np.ndarray, "a b ..."], height: int, width: int) -> np.ndarray:
    """The image with its last row and column repeated, as far as that is needed."""
    below, right = height - image.shape[0], width - image.shape[1]
    if not (below or right):
        return image
    return np.pad(image, [(0, below), (0, right), (0, 0)][: image.ndim], "edge")


def _sits_left(frame: av.VideoFrame) -> bool:
    """Whether a sample of colour sits at the left one of two pixels, instead of between both.

    PyAV does not tell, but swscale knows: it is asked what it makes of one sample.
    """
    small = {"width": 16, "height": 2, "interpolation": Interpolation.POINT}
    probe = VideoReformatter().reformat(frame, format="yuv422p", **small)
    for plane in _planes(probe):
        plane[:] = 128
    _planes(probe)[2][:, 4] = 192
    _, _, red = _planes(probe.reformat(format="gbrp", interpolation=SCALER))
    return bool(red[0, 7] == red[0, 9])


def _add(part: Shaped[np.ndarray, "h w"], change: Float32[np.ndarray, "h w"], bits: int) -> None:
    """Adds a change to samples, rounded and clipped."""
    part[:] = np.rint(part + change).clip(0, 2**bits - 1)


def _changed_box(
    before: Image, after: Image, size: tuple[int, int], steps: tuple[int, int]
) -> tuple[slice, slice] | None:
    """The rows and columns, in whole samples of colour, that a change can reach; None if there is none.

    Args:
        before: image.
        after: the image, changed.
        size: rows and columns of the frame, which may have one more than the images.
        steps: rows and columns of luma to one of colour.
    """
    different = cv2.absdiff(before, after)
    x, y, width, height = cv2.boundingRect(different.reshape(len(different), -1))
    if not width:
        return None
    # Samples of colour may reach a pixel further, and the last pixel may be repeated.
    edges = (y - 1, y + height + 1), (x // 3 - 1, (x + width - 1) // 3 + 2)
    rows, columns = (
        slice(max(first, 0) // step * step, min(-(-last // step) * step, side))
        for (first, last), step, side in zip(edges, steps, size, strict=True)
    )
    return rows, columns


def _reduced(box: tuple[slice, slice], steps: tuple[int, int]) -> tuple[slice, slice]:
    """A box in samples of colour."""
    rows, columns = (
        slice(part.start // step, part.stop // step) for part, step in zip(box, steps, strict=True)
    )
    return rows, columns
