"""Two puppets that differ in every respect, and an even light."""

import dataclasses

import pytest

from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import render


@pytest.fixture(scope="session")
def plain():
    """A persona without beard, glasses, freckles or long hair, with coloured eyes and lips."""
    return dataclasses.replace(
        sample_persona(0, 5),
        skin_tone=0.25,
        eye_colour=0.8,
        eye_tilt=0.05,
        lip_redness=1.0,
        hair_line=0.7,
        hair_length=0.0,
        beard=0.0,
        freckles=0.0,
        glasses=0.0,
    )


@pytest.fixture(scope="session")
def scene():
    """Light from the front before a plain grey background."""
    return Scene(light_azimuth=0.0, ambient=0.6)


@pytest.fixture(scope="session")
def neutral(plain, scene):
    """The plain persona at rest, 128 px."""
    return render(plain, Performance(), scene, 128)
