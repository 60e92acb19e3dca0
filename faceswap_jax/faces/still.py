"""Pictures as their files have them: pixels in their own encoding and depth, and what else goes along.

OpenCV decodes PNG and TIFF, which may have 16 bits, and writes them, JPEG, WebP, AVIF and BMP; libheif is for HEIC,
OpenEXR for EXR. Pillow knows what the others say of themselves.
"""

import io
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image
import pillow_heif
import tifffile
from jaxtyping import Shaped

from faceswap_jax.errors import InputError
from faceswap_jax.faces import exr, tagged
from faceswap_jax.faces.encoding import SRGB, Encoding, Pixels, Profiled, linear
from faceswap_jax.faces.face import Image
from faceswap_jax.files import readable, replacing


class Format(NamedTuple):
    """What a format can hold.

    Attributes:
        bits: of a channel, at most; 0 are floats.
        transparency: whether it is kept.
        profile: whether an ICC profile is kept.
        code_points: whether the numbers are kept that tell of HDR or a wide gamut.
    """

    bits: int
    transparency: bool = True
    profile: bool = True
    code_points: bool = False


FORMATS = {
    ".png": Format(16),
    ".tif": Format(16),
    ".tiff": Format(16),
    ".heic": Format(10, code_points=True),
    ".heif": Format(10, code_points=True),
    ".avif": Format(8),
    ".webp": Format(8),
    ".jpg": Format(8, transparency=False),
    ".jpeg": Format(8, transparency=False),
    ".bmp": Format(8, transparency=False, profile=False),
    ".exr": Format(0),
}
"""By suffix."""

MAX_PIXELS = 2 * PIL.Image.MAX_IMAGE_PIXELS
"""No camera's picture has more."""

QUALITY = 95
"""Of formats that lose something, of 100."""

QUALITIES = {
    ".jpg": cv2.IMWRITE_JPEG_QUALITY,
    ".jpeg": cv2.IMWRITE_JPEG_QUALITY,
    ".webp": cv2.IMWRITE_WEBP_QUALITY,
    ".avif": cv2.IMWRITE_AVIF_QUALITY,
}
"""OpenCV's option for each."""

DEEP = frozenset({"RGB", "RGBA", "RGBX", "I;16", "I;16B"})
"""Pillow's names of colours that may have 16 bits."""

ORIENTATION = 0x0112
"""EXIF's tag of it."""

XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
"""What comes before XMP in a JPEG."""

CODE_POINTS = (
    "color_primaries",
    "transfer_characteristics",
    "matrix_coefficients",
    "full_range_flag",
)
"""What pillow-heif calls them, of a file that is read or written."""

EXTRA_SAMPLES = 338
"""TIFF's tag that says whether colours are multiplied by how opaque they are."""

# What OpenCV has to say about a damaged picture goes to stderr in several lines; the exception says it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
pillow_heif.register_heif_opener()

logger = logging.getLogger(__name__)


class Orientation(NamedTuple):
    """How a stored image becomes upright: first transposed, then mirrored."""

    transposed: bool = False
    left_to_right: bool = False
    top_to_bottom: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The upright image of a stored one."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        if self.left_to_right:
            image = image[:, ::-1]
        if self.top_to_bottom:
            image = image[::-1]
        return np.ascontiguousarray(image)


BY_EXIF = {
    2: Orientation(False, True, False),
    3: Orientation(False, True, True),
    4: Orientation(False, False, True),
    5: Orientation(True, False, False),
    6: Orientation(True, True, False),
    7: Orientation(True, True, True),
    8: Orientation(True, False, True),
}
"""Orientations other than upright, by EXIF's number."""


class Notes(NamedTuple):
    """What a file says of a picture, and says of what is made of it as well.

    Attributes:
        profile: an ICC profile.
        exif: as in a JPEG, after "Exif".
        xmp: Adobe's.
        multiplied: whether colours are multiplied by how opaque they are.
        nclx: code points in place of a profile, by pillow-heif's names.
    """

    profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    multiplied: bool = False
    nclx: Mapping[str, int] | None = None


NO_NOTES = Notes()


@dataclass(frozen=True)
class Still:
    """A picture.

    Attributes:
        pixels: upright, red, green and blue in its own encoding: 8 or 16 bits, or floats.
        encoding: how these stand for colours.
        bits: of a channel, before it was widened to 16; 0 are floats.
        alpha: how much it hides, of the same type; None if all.
        notes: what goes along.
        pixel_aspect: width over height of a pixel.
        light: the OpenEXR file, if it is one.
    """

    pixels: Pixels
    encoding: Encoding = SRGB
    bits: int = 8
    alpha: Shaped[np.ndarray, "h w"] | None = None
    notes: Notes = NO_NOTES
    pixel_aspect: Fraction = Fraction(1)
    light: exr.Light | None = None

    def changed(self, after: Image) -> "Still":
        """The picture after a change of what is seen of it, see `Encoding.changed`."""
        return replace(self, pixels=self.encoding.changed(self.pixels, after))


def read_still(path: Path) -> Still:
    """A picture as its file has it, upright. Grey, indexed and CMYK pictures become red, green and blue.

    Raises:
        InputError: the file is missing, unreadable, no picture, or claims more pixels than any camera has; or it is an
            OpenEXR file without red, green and blue.
    """
    with readable(path):
        data = Path(path).read_bytes()
    if data.startswith(exr.MAGIC):
        light = exr.Light(path, data, MAX_PIXELS)
        return Still(
            light.pixels, light.encoding, bits=0, pixel_aspect=light.pixel_aspect, light=light
        )
    try:
        if data.startswith((b"II*\0", b"MM\0*")):
            _check_numbers(path, data)
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(io.BytesIO(data)) as image:
            return _read(path, data, image)
    except PIL.Image.DecompressionBombError as error:
        raise InputError(
            f"{path} claims more than {MAX_PIXELS // 10**6} million pixels; scale it down or leave it out."
        ) from error
    # Pillow's, OpenCV's and libheif's ways to say it
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError, cv2.error) as error:
        raise InputError(
            f"{path} is damaged or not a picture; export it again, for example as PNG."
        ) from error


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is stored, by the head of its file.

    Raises:
        InputError: as `read_still`.
    """
    if Path(path).suffix.lower() == ".exr":
        return exr.read_size(path)
    with readable(path), warnings.catch_warnings(action="ignore"):
        try:
            with PIL.Image.open(path) as image:
                return image.size
        except (PIL.UnidentifiedImageError, ValueError, SyntaxError, EOFError, RuntimeError):
            pass
    # It says what is wrong, or knows more kinds.
    height, width, _ = read_still(path).pixels.shape
    return width, height


def write_still(path: Path, still: Still) -> None:
    """Writes a picture in the format that the suffix names; see `check_kept` for what it may lose.

    Raises:
        InputError: an unknown suffix, or the folder cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"{path} has no picture's suffix; choose one of {', '.join(sorted(FORMATS))}."
        )
    if suffix == ".exr":
        encoded = _exr(still)
    elif suffix in (".tif", ".tiff"):
        encoded = _tiff(still)
    elif suffix in (".heic", ".heif"):
        encoded = _heic(still)
    else:
        encoded = _by_opencv(still, suffix)
    with replacing(path) as aside:
        aside.write_bytes(encoded)


def check_kept(source: Path, output: Path) -> None:
    """Raises InputError if the format of the output cannot hold all that a picture is."""
    still = read_still(source)
    lost = missing(still, output.suffix.lower())
    if lost:
        fitting = [suffix for suffix in sorted(FORMATS) if not missing(still, suffix)]
        raise InputError(
            f"'{output}' cannot hold what {source} has: {', '.join(lost)}; choose a name that ends in "
            f"{', '.join(fitting)}."
        )


def missing(still: Still, suffix: str) -> list[str]:
    """What of a picture a format cannot hold, in words.

    Args:
        still: the picture.
        suffix: of the format, one of `FORMATS`.
    """
    form = FORMATS[suffix]
    lost = []
    if (still.bits == 0) != (form.bits == 0):
        lost.append("scene-linear light" if still.bits == 0 else "a display's colours")
    elif still.bits > form.bits:
        lost.append(f"{still.bits} bits")
    if still.alpha is not None and not form.transparency:
        lost.append("transparency")
    if isinstance(still.encoding, Profiled) and not form.profile:
        lost.append("a colour profile")
    if still.notes.nclx and not form.code_points:
        lost.append("HDR or a wide gamut told by numbers")
    return lost


def _check_numbers(path: Path, data: bytes) -> None:
    """Raises InputError if a TIFF holds other numbers than a display's: Pillow would not know it, or cut them off."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        kind = page.dtype
        turned = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        apart = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    if kind is not None and kind.itemsize == 2 and (turned or apart):
        raise InputError(
            f"{path} has 16 bits, and its channels lie one after the other, or white is 0; export it with its channels "
            "together (interleaved), black being 0."
        )
    if kind is not None and kind.itemsize > 2:
        raise InputError(
            f"{path} has numbers of {8 * kind.itemsize} bits; export it with 16 bits, or as OpenEXR."
        )


def _read(path: Path, data: bytes, image: PIL.Image.Image) -> Still:
    """A picture that Pillow has opened."""
    exif = image.getexif()
    if image.format == "HEIF":
        bits = image.info["bit_depth"]
        file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
        channels = np.asarray(file)
    else:
        channels = _decoded(data, image)
        bits = 8 * channels.dtype.itemsize

    # These two come upright.
    orientation = Orientation()
    if image.format not in ("HEIF", "TIFF"):
        orientation = BY_EXIF.get(exif.get(ORIENTATION), orientation)
    pixels, alpha = _colours_and_alpha(orientation.apply(channels))

    # What else it says
    is_rgb = image.mode in ("RGB", "RGBA", "RGBX")
    profile = image.info.get("icc_profile", b"") if is_rgb else b""
    nclx = image.info.get("nclx_profile")
    if nclx and not profile and not _is_srgb(nclx):
        encoding = _tagged(path, nclx)
    else:
        nclx = None
        encoding, profile = _encoding(path, profile)
    notes = Notes(
        profile=profile,
        exif=_upright(exif) if image.format != "TIFF" else b"",
        # It repeats how the stored picture is turned.
        xmp=_xmp(image) if orientation == Orientation() else b"",
        multiplied=image.format == "TIFF" and _first(image.tag_v2.get(EXTRA_SAMPLES)) == 1,
        nclx=nclx,
    )
    return Still(pixels, encoding, bits, alpha, notes)


def _decoded(data: bytes, image: PIL.Image.Image) -> np.ndarray:
    """The stored channels of a picture: red, green, blue, and what follows."""
    # Pillow would cut 16 bits off; OpenCV does not know all kinds of TIFF.
    if image.format == "PNG" or (image.format == "TIFF" and image.mode in DEEP):
        channels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if channels is None and image.format == "PNG":
            raise ValueError("damaged")
        if channels is not None:
            swapped = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
            code = swapped.get(channels.shape[2] if channels.ndim == 3 else 1)
            return channels if code is None else cv2.cvtColor(channels, code)
    is_transparent = image.has_transparency_data
    return np.asarray(image.convert("RGBA" if is_transparent else "RGB"))


def _colours_and_alpha(channels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Red, green and blue, and how much is hidden, of an array [h, w] or [h, w, 1 to 4 channels]."""
    channels = channels.reshape(*channels.shape[:2], -1)
    count = channels.shape[2]
    alpha = channels[..., -1].copy() if count in (2, 4) else None
    colours = channels[..., :3] if count >= 3 else np.repeat(channels[..., :1], 3, 2)
    return np.ascontiguousarray(colours), alpha


def _encoding(path: Path, profile: bytes) -> tuple[Encoding, bytes]:
    """How colours are meant, and the profile that goes along."""
    if not profile:
        return SRGB, b""
    try:
        encoding = Profiled(profile)
    except ValueError:
        logger.warning("%s: its colour profile is damaged, and left out.", path)
        return SRGB, b""
    return (SRGB if encoding.is_srgb() else encoding), profile


def _tagged(path: Path, nclx: Mapping[str, int]) -> Encoding:
    """The encoding that code points of ITU-T H.273 tell."""
    primaries, transfer = nclx["color_primaries"], nclx["transfer_characteristics"]
    encoding = tagged.encoding_of(primaries, transfer)
    if encoding is SRGB or transfer not in tagged.TRANSFERS:
        raise InputError(
            f"{path} has colours of a gamut or transfer that is not known here, told by the numbers {primaries} and "
            f"{transfer} (nclx); export it with an ICC profile."
        )
    return encoding


def _is_srgb(nclx: Mapping[str, int]) -> bool:
    """Whether code points of ITU-T H.273 tell sRGB, or nothing."""
    return nclx["color_primaries"] in (1, 2) and nclx["transfer_characteristics"] in (1, 2, 6, 13)


def _upright(exif: PIL.Image.Exif) -> bytes:
    """What EXIF says of the upright picture."""
    if not exif:
        return b""
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _xmp(image: PIL.Image.Image) -> bytes:
    xmp = image.info.get("xmp") or b""
    return xmp.encode() if isinstance(xmp, str) else xmp


def _first(values: object) -> object:
    """The first one of a tag, which may have several."""
    return values[0] if isinstance(values, tuple) else values


def _channels(still: Still) -> Shaped[np.ndarray, "h w c"]:
    """Red, green and blue, and how much is hidden if that is known."""
    if still.alpha is None:
        return still.pixels
    return np.dstack([still.pixels, still.alpha])


def _exr(still: Still) -> bytes:
    if still.light is not None:
        return still.light.encoded(still.pixels)
    # Nothing of a display is brighter than its white.
    seen = still.encoding.shown(still.pixels, depth=16)
    return exr.encoded(linear(seen / np.float64(65535)).astype(np.float32))


def _tiff(still: Still) -> bytes:
    notes = still.notes
    # 700 is XMP's tag; its bytes have the type 1.
    extra = [(700, 1, len(notes.xmp), notes.xmp, True)] if notes.xmp else []
    opaque = "assocalpha" if notes.multiplied else "unassalpha"
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        _channels(still),
        photometric="rgb",
        compression="zlib",
        predictor=True,
        iccprofile=notes.profile or None,
        extrasamples=None if still.alpha is None else [opaque],
        extratags=extra,
        metadata=None,
        software=False,
    )
    return buffer.getvalue()


def _heic(still: Still) -> bytes:
    channels = _channels(still)
    height, width, count = channels.shape
    mode = ("RGB" if count == 3 else "RGBA") + (";16" if channels.dtype == np.uint16 else "")
    file = pillow_heif.from_bytes(mode, (width, height), np.ascontiguousarray(channels).tobytes())
    notes = still.notes
    buffer = io.BytesIO()
    options = {"exif": notes.exif or None, "xmp": notes.xmp or None}
    # As good as slower ones, for a quarter more bytes in a seventh of the time
    options["enc_params"] = {"preset": "ultrafast"}
    if notes.profile:
        options["icc_profile"] = notes.profile
    if notes.nclx:
        options |= {name: notes.nclx[name] for name in CODE_POINTS}
    file.save(buffer, quality=QUALITY, **options)
    return buffer.getvalue()


def _by_opencv(still: Still, suffix: str) -> bytes:
    channels = _channels(still)
    # BMP has no place for them.
    notes = still.notes if FORMATS[suffix].profile else NO_NOTES
    kinds = {cv2.IMAGE_METADATA_EXIF: notes.exif, cv2.IMAGE_METADATA_ICCP: notes.profile}
    if notes.xmp and suffix != ".png":
        # OpenCV writes it to PNG as nobody looks for it, and to JPEG without its name.
        name = XMP_NAME if suffix in (".jpg", ".jpeg") else b""
        kinds[cv2.IMAGE_METADATA_XMP] = name + notes.xmp
    known = {kind: np.frombuffer(text, np.uint8) for kind, text in kinds.items() if text}
    options = [QUALITIES[suffix], QUALITY] if suffix in QUALITIES else []
    swapped = cv2.COLOR_RGB2BGR if channels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    _, encoded = cv2.imencodeWithMetadata(
        suffix, cv2.cvtColor(channels, swapped), list(known), list(known.values()), options
    )
    return encoded.tobytes()
