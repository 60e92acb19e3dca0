"""Clips in HDR, wide gamuts and logarithms, made without the package: they show what SDR images show."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDER = {
    9: ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956)),
    12: ((0.8225, 0.1774, 0), (0.0332, 0.9669, 0), (0.0171, 0.0724, 0.9108)),
}
"""From BT.709's light to BT.2020's (Report ITU-R BT.2407) and Display P3's, by code point."""

MASTERING = (
    "G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,50)",
    "1000,400",
)
"""Of a display with BT.2020's colours, from 0.005 to 1000 candelas per square metre; the brightest pixel and frame."""


def pq(light: np.ndarray) -> np.ndarray:
    """The signal of candelas per square metre (SMPTE ST 2084)."""
    power = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    """The signal of candelas per square metre of a display of 1000 (ITU-R BT.2100)."""
    luminance = (light @ [0.2627, 0.678, 0.0593])[..., None] / 1000
    scene = light / 1000 * np.maximum(luminance, 1e-9) ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def signal_of(image: np.ndarray, primaries: int, transfer: int, white: float = 203.0) -> np.ndarray:
    """Red, green and blue, 0..1, that show what an SDR image of 8 bits shows; its white has so much light."""
    image = image / 255
    light = image**2.4
    if transfer == 13:
        light = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    if primaries in WIDER:
        light = light @ np.array(WIDER[primaries]).T
    if transfer == 16:
        return pq(white * light)
    if transfer == 18:
        return hlg(white * light)
    if transfer == 13:
        return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return light ** (1 / 2.4)


def planes_of(
    signal: np.ndarray, pixel_format: str, matrix: int, full: bool = False
) -> av.VideoFrame:
    """A frame of these colours."""
    deep = np.ascontiguousarray(np.rint(signal.clip(0, 1) * 65535).astype(np.uint16))
    return av.VideoFrame.from_ndarray(deep, "rgb48le").reformat(
        format=pixel_format,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=2 if full else 1,
        interpolation="BICUBIC",
    )


def write_deep(
    path: Path,
    images: list[np.ndarray],
    primaries: int = 9,
    transfer: int = 16,
    codec: str = "libx265",
    pixel_format: str = "yuv420p10le",
    full: bool = False,
    mastering: bool = True,
    pixel_aspect: Fraction = Fraction(1),
    matrix: int | None = None,
) -> Path:
    """A clip that shows SDR images, with the matrix that goes with its primaries; HDR if the transfer says so."""
    usual = 9 if primaries == 9 else 1
    options = {}
    if codec == "libx265":
        display, light = MASTERING
        said = f":master-display={display}:max-cll={light}" if mastering else ""
        options = {"crf": "4", "x265-params": f"bframes=0:log-level=error{said}"}
    if codec == "libx264":
        options = {"crf": "4"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = (
            primaries,
            transfer,
            matrix or usual,
        )
        context.sample_aspect_ratio = pixel_aspect
        context.color_range = 2 if full else 1
        for index, image in enumerate(images):
            signal = signal_of(image, primaries, transfer)
            frame = planes_of(signal, pixel_format, usual, full)
            # ProRes has them in each frame.
            frame.color_primaries, frame.color_trc = primaries, transfer
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbers_seen_as(image: np.ndarray, colorspace: str) -> np.ndarray:
    """What a clip of a camera's logarithm holds, 0..255, to be seen as an image whose light is below the knee."""
    import PyOpenColorIO

    config = PyOpenColorIO.Config.CreateFromFile("ocio://studio-config-latest")
    processor = config.getProcessor("sRGB Encoded Rec.709 (sRGB)", colorspace)
    numbers = np.ascontiguousarray(image, np.float32) / 255
    processor.getDefaultCPUProcessor().applyRGB(numbers)
    return 255 * numbers.clip(0, 1).astype(np.float64)
