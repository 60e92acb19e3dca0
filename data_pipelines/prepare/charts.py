"""What a report draws: charts as SVG and the contact sheet as PNG; the same values give the same bytes."""

import base64
import io
import math
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

SAMPLES, CELL = 10, 112
"""Pictures in a line of the contact sheet, their side in pixels."""

_INK, _FAINT, _BAR, _MARK = "#1f2933", "#7b8794", "#4c78a8", "#d1603d"
_STYLE = {
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#9aa5b1",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.7,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.7,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "svg.hashsalt": "report",
}


@matplotlib.rc_context(_STYLE)
def histogram(
    values: Sequence[float],
    edges_of: Callable[[Float64[np.ndarray, "n"]], Float64[np.ndarray, "m"]],
    label: str,
    *,
    what: str = "pictures",
    unit: str = "",
    limits: Sequence[float] = (),
) -> str:
    """Draws shares of the values in bins, their median, and limits as dashed lines.

    Args:
        values: those that are not finite are left out.
        edges_of: gives the edges of the bins, one of the functions below; values beyond them count as the outermost.
        label: of the horizontal axis.
        what: the values are of.
        unit: that follows the median.
        limits: to mark.

    Returns:
        A data URI of SVG.
    """
    figure, axes = _axes(label, f"% of {what}")
    values = finite(values)
    if not len(values):
        return _without_data(figure, axes)
    edges = edges_of(np.append(values, limits))
    if _is_wide(edges[0], edges[-1]):
        axes.set_xscale("log")
        steps = (1, 2, 5) if edges[-1] < 40 * edges[0] else (1, 3)
        ticks = [step * 10**power for power in range(9) for step in steps]
        ticks = [tick for tick in ticks if edges[0] <= tick <= edges[-1]]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=(1, 2, 5, 10), integer=True))
    shares = 100 * np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
    axes.stairs(shares, edges, fill=True, color=_BAR)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.2 * shares.max())
    axes.grid(axis="y")
    for limit in limits:
        axes.axvline(limit, color=_FAINT, linestyle=(0, (4, 3)), linewidth=0.9)
    median = float(np.median(values))
    place = float(np.clip(median, edges[0], edges[-1]))
    axes.axvline(place, color=_MARK, linewidth=1.2)
    across = axes.transAxes.inverted().transform(axes.transData.transform((place, 0)))[0]
    axes.annotate(
        f"median {_decimal(median)}{unit}",
        (place, 0.98),
        (5 if across < 0.6 else -5, 0),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="left" if across < 0.6 else "right",
        va="top",
        color=_MARK,
    )
    return _svg(figure)


def angle_edges(values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "m"]:
    """Edges every 5 degrees, as far to one side as to the other, 180 at most."""
    reach = 5 * math.ceil(min(np.abs(values).max(), 175) / 5) + 5
    return np.arange(-reach, reach + 5, 5.0)


def size_edges(values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "m"]:
    """Edges around positive values, each as many times the one before if the values are of many sizes."""
    high = max(values.max(), 1e-9)
    low = max(values.min(), 1e-4 * high)
    return _divide(0.95 * low, 1.05 * high, len(values))


def count_edges(values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "m"]:
    """The same around positive whole numbers; the edges lie between such."""
    return np.unique(np.floor(_divide(values.min() - 0.5, values.max() + 0.5, len(values))) + 0.5)


def _divide(low: float, high: float, values: int) -> Float64[np.ndarray, "m"]:
    count = int(np.clip(2 * math.sqrt(values), 10, 40))  # few values make no smooth curve
    return np.geomspace(low, high, count) if _is_wide(low, high) else np.linspace(low, high, count)


def _is_wide(low: float, high: float) -> bool:
    return 0 < 8 * low < high


def finite(values: Sequence[float]) -> Float64[np.ndarray, "n"]:
    """Those of the values that are numbers."""
    values = np.asarray(values, np.float64)
    return values[np.isfinite(values)]


def _decimal(number: float) -> str:
    return f"{number:,.1f}".removesuffix(".0").replace("-", "\N{MINUS SIGN}")


@matplotlib.rc_context(_STYLE)
def pose_map(yaw: Float64[np.ndarray, "n"], pitch: Float64[np.ndarray, "n"]) -> str:
    """Draws how many pictures have which yaw and pitch, degrees; returns a data URI of SVG."""
    figure, axes = _axes("yaw (degrees)", "pitch (degrees)")
    there = np.isfinite(yaw) & np.isfinite(pitch)
    if not there.any():
        return _without_data(figure, axes)
    yaw, pitch = yaw[there], pitch[there]
    across, up = angle_edges(yaw), angle_edges(pitch)
    counts = np.histogram2d(pitch, yaw, (up, across))[0]
    # The root keeps rare poses visible.
    axes.imshow(
        np.sqrt(counts),
        cmap="Blues",
        origin="lower",
        aspect="auto",
        extent=(across[0], across[-1], up[0], up[-1]),
        interpolation="nearest",
    )
    return _svg(figure)


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure((3.6, 2.2))
    axes = figure.add_axes(
        (0.16, 0.21, 0.8, 0.76)
    )  # the same place in all charts, so that they line up on the page
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _without_data(figure: Figure, axes: Axes) -> str:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(
        0.5,
        0.5,
        "no record could be read",
        color=_FAINT,
        ha="center",
        va="center",
        transform=axes.transAxes,
    )
    return _svg(figure)


def _svg(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(
        file, format="svg", dpi=200, metadata={"Date": None}
    )  # no date: the same data, the same report
    return data_uri("image/svg+xml", file.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """A file of a MIME type as a page can hold it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def contact_sheet(
    title: str, lines: Sequence[tuple[Sequence[str], Sequence[UInt8[np.ndarray, "c c 3"]]]]
) -> bytes:
    """Draws lines of pictures below a title; returns a PNG.

    Args:
        title: of the sheet.
        lines: each with three texts for its left, the first in bold and the last faint, and its pictures, SAMPLES at
            most, of side CELL.
    """
    margin, gap, left, top = 28, 4, 264, 64
    width = 2 * margin + left + SAMPLES * (CELL + gap) - gap
    height = top + len(lines) * (CELL + gap) - gap + margin
    heading, bold, plain = (
        ImageFont.truetype(findfont(f"DejaVu Sans:{weight}"), size)
        for weight, size in (("bold", 20), ("bold", 17), ("regular", 14))
    )
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((margin, top // 2), title, _INK, heading, "lm")
    for line, (texts, pictures) in enumerate(lines):
        y = top + line * (CELL + gap)
        for text, below, color, font in zip(
            texts, (-24, 2, 24), (_INK, _INK, _FAINT), (bold, plain, plain), strict=True
        ):
            draw.text(
                (margin, y + CELL // 2 + below), _fit(text, font, left - 20), color, font, "lm"
            )
        for column, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (margin + left + column * (CELL + gap), y))
    file = io.BytesIO()
    sheet.save(file, "png")
    return file.getvalue()


def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text on one line, its end left out where it is too long."""
    text = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
