"""Draws the charts of a report as SVG; the same values give the same bytes."""

import base64
import io
import math
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_INK = "#1f2933"
_FAINT = "#7b8794"
_BAR = "#4c78a8"
_MARK = "#d1603d"
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
    """Draws percentages of the values in bins, their median, and limits as dashed lines.

    Args:
        values: those that are not finite are left out.
        edges_of: gives the edges of the bins, one of the functions below. Values beyond the edges
            count as the outermost.
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
    axes.set_xlim(edges[0], edges[-1])
    _set_ticks(axes, edges[0], edges[-1])

    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    percent = 100 * counts / len(values)
    axes.stairs(percent, edges, fill=True, color=_BAR)
    # Leaves room for the median's label.
    axes.set_ylim(0, 1.2 * percent.max())
    axes.grid(axis="y")

    for limit in limits:
        axes.axvline(limit, color=_FAINT, linestyle=(0, (4, 3)), linewidth=0.9)
    median = float(np.median(values))
    _mark(axes, float(np.clip(median, edges[0], edges[-1])), f"median {_decimal(median)}{unit}")
    return _svg(figure)


def _set_ticks(axes: Axes, low: float, high: float) -> None:
    """Sets the ticks of the horizontal axis, on a logarithmic scale where the values need one."""
    if not _is_wide(low, high):
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=(1, 2, 5, 10), integer=True))
        return
    axes.set_xscale("log")
    steps = (1, 2, 5) if high < 40 * low else (1, 3)
    ticks = [step * 10**power for power in range(9) for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()


def _mark(axes: Axes, value: float, text: str) -> None:
    """Draws a vertical line at a value, with a text on the side where there is more room."""
    axes.axvline(value, color=_MARK, linewidth=1.2)
    x, _ = axes.transAxes.inverted().transform(axes.transData.transform((value, 0)))
    is_left = x < 0.6
    axes.annotate(
        text,
        (value, 0.98),
        (5 if is_left else -5, 0),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="left" if is_left else "right",
        va="top",
        color=_MARK,
    )


def angle_edges(values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "m"]:
    """Returns edges every 5 degrees, as far to one side as to the other, 180 at most."""
    reach = 5 * math.ceil(min(np.abs(values).max(), 175) / 5) + 5
    return np.arange(-reach, reach + 5, 5.0)


def size_edges(values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "m"]:
    """Returns edges around positive values, in equal ratios if the values span a wide range."""
    high = max(values.max(), 1e-9)
    low = max(values.min(), 1e-4 * high)
    return _divide(0.95 * low, 1.05 * high, len(values))


def count_edges(values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "m"]:
    """Returns edges around positive whole numbers; they lie between whole numbers."""
    return np.unique(np.floor(_divide(values.min() - 0.5, values.max() + 0.5, len(values))) + 0.5)


def _divide(low: float, high: float, values: int) -> Float64[np.ndarray, "m"]:
    """Returns edges from low to high, the more the more values there are."""
    # Few values make no smooth curve.
    count = int(np.clip(2 * math.sqrt(values), 10, 40))
    divide = np.geomspace if _is_wide(low, high) else np.linspace
    return divide(low, high, count)


def _is_wide(low: float, high: float) -> bool:
    """Tells whether values from low to high are drawn on a logarithmic scale."""
    return 0 < 8 * low < high


def finite(values: Sequence[float]) -> Float64[np.ndarray, "n"]:
    """Returns those of the values that are numbers."""
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
    across = angle_edges(yaw[there])
    up = angle_edges(pitch[there])
    counts, _, _ = np.histogram2d(pitch[there], yaw[there], (up, across))
    # The square root keeps rare poses visible.
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
    # The same place in all charts, so that they line up on the page.
    axes = figure.add_axes((0.16, 0.21, 0.8, 0.76))
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
    # No date: the same data give the same report.
    figure.savefig(file, format="svg", dpi=200, metadata={"Date": None})
    return data_uri("image/svg+xml", file.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Returns a file of a MIME type as a page can hold it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
