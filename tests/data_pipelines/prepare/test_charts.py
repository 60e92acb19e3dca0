"""Tests of the charts: bins that hold all values, what they say, and values that cannot be drawn."""

import base64
import math
from xml.etree import ElementTree

import numpy as np
import pytest

from data_pipelines.prepare import charts


def svg(uri: str) -> str:
    head, _, content = uri.partition(",")
    assert head == "data:image/svg+xml;base64"
    text = base64.b64decode(content).decode()
    ElementTree.fromstring(text)
    return text


@pytest.mark.parametrize("values", [[0], [7], [-3, 3], [5, 90, -180], [12.5] * 40, range(-60, 61)])
def test_angles_lie_in_symmetric_bins(values):
    edges = charts.angle_edges(np.array(values, float))
    assert np.all(np.diff(edges) == 5) and np.array_equal(edges, -edges[::-1])
    assert edges[0] <= min(values) and edges[-1] >= max(values)


@pytest.mark.parametrize(
    "values", [[1], [50, 50], [0, 1], range(1, 2000), np.geomspace(1e-3, 1e6, 99)]
)
def test_sizes_lie_in_rising_bins(values):
    values = np.array(values, float)
    edges = charts.size_edges(values)
    assert np.all(np.diff(edges) > 0)
    assert edges[0] <= max(values.min(), 1e-4 * values.max()) and edges[-1] > values.max()


@pytest.mark.parametrize("values", [[1], [1, 1, 2], [3, 4000], range(1, 60), [1] * 500 + [9]])
def test_each_count_lies_within_a_bin(values):
    edges = charts.count_edges(np.array(values, float))
    assert np.all(np.diff(edges) >= 1) and np.all(edges % 1 == 0.5)
    assert edges[0] < min(values) and edges[-1] > max(values)


@pytest.mark.parametrize("edges_of", [charts.angle_edges, charts.size_edges, charts.count_edges])
def test_a_histogram_tells_the_median_and_the_limits(edges_of):
    values = [1, 2000, 2000, 3000, math.inf, math.nan]
    plain = svg(charts.histogram(values, edges_of, "px", unit=" px"))
    assert "<!-- median 2,000 px -->" in plain and plain.count("stroke-dasharray") == 0
    limited = svg(charts.histogram(values, edges_of, "px", limits=[40, 60]))
    assert limited.count("stroke-dasharray") == 2


def test_nothing_to_draw():
    nothing = np.array([math.nan, 3])
    for uri in (
        charts.histogram([math.inf], charts.size_edges, "px"),
        charts.pose_map(nothing, nothing[::-1]),
    ):
        assert "<!-- no record could be read -->" in svg(uri)
