"""Sampling is deterministic, spread out and inside the documented ranges."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.puppets.parameters import (
    PERFORMANCE_SPANS,
    PERSONA_SPANS,
    SCENE_SPANS,
    Performance,
    Persona,
    Scene,
    clip,
    sample_persona,
    sample_scene,
)
from faceswap_jax.errors import InputError


@pytest.mark.parametrize(
    "kind, table",
    [(Persona, PERSONA_SPANS), (Performance, PERFORMANCE_SPANS), (Scene, SCENE_SPANS)],
)
def test_every_field_has_a_range(kind, table):
    assert [field.name for field in dataclasses.fields(kind)] == list(table)
    assert all(span.low < span.high for span in table.values())


def test_samples_lie_in_their_ranges():
    for index in range(20):
        for sample in (sample_persona(3, index), sample_scene(3, index, 1)):
            assert clip(sample) == sample


def test_samples_depend_on_every_index_and_nothing_else():
    assert sample_persona(1, 9) == sample_persona(1, 9)
    assert len({sample_persona(seed, index) for seed in range(3) for index in range(10)}) == 30
    assert (
        len(
            {
                sample_scene(seed, index, track)
                for seed in range(2)
                for index in range(3)
                for track in range(3)
            }
        )
        == 18
    )


def test_eight_neighbouring_personas_fill_every_range_evenly():
    values = np.array([dataclasses.astuple(sample_persona(5, 8 + index)) for index in range(8)])
    for column, span in zip(values.T, PERSONA_SPANS.values(), strict=True):
        present = np.sort(column[column > span.low])
        assert len(present) >= np.floor(8 * (1 - span.absent))
        if not span.absent:
            eighths = (present - span.low) / (span.high - span.low) * 8
            assert np.array_equal(np.floor(eighths), np.arange(8))


def test_values_out_of_range_are_clipped():
    assert clip(Performance(yaw=200.0, smile=-7.0)) == Performance(yaw=40.0, smile=-1.0)


def test_bad_values_are_user_errors():
    with pytest.raises(InputError, match="yaw"):
        clip(Performance(yaw=float("nan")))
    with pytest.raises(InputError, match="persona"):
        sample_persona(0, -1)
