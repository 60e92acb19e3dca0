"""The truth of a system takes each role from the puppet that plays it, and nothing else from that puppet."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.puppets.parameters import ACCESSORIES, sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import (
    Cast,
    Take,
    performance_track,
    render_frame,
    truth,
)
from faceswap_jax.errors import InputError

WORLD, SIZE = 0, 64
TARGET = Take(persona=2, track=0, frame=30)
OTHER = Take(persona=5, track=3, frame=7)
OWN = Cast.swap(2, TARGET)


def shown(cast):
    """The parameters of a truth by role."""
    frame = truth(WORLD, cast, 16)
    persona = dataclasses.asdict(frame.persona)
    accessories = {name: persona.pop(name) for name in ACCESSORIES}
    return {
        "identity": persona,
        "performance": frame.performance,
        "scene": frame.scene,
        "accessories": accessories,
    }


def test_the_truth_of_a_puppet_that_plays_every_role_is_its_own_frame():
    own, again = render_frame(WORLD, *TARGET, SIZE), truth(WORLD, OWN, SIZE)
    assert np.array_equal(own.image, again.image)
    assert np.array_equal(own.landmarks, again.landmarks)


@pytest.mark.parametrize(
    ("role", "player"),
    [("identity", 5), ("performance", OTHER), ("scene", OTHER), ("accessories", 5)],
)
def test_each_role_changes_what_it_should_and_nothing_else(role, player):
    before, after = shown(OWN), shown(dataclasses.replace(OWN, **{role: player}))
    changed = [name for name in before if before[name] != after[name]]
    assert changed == [role]
    # Nothing of the role is left of the puppet that played it before.
    others = shown(Cast.swap(5, OTHER))
    assert after[role] == others[role]


def test_a_performance_is_the_frame_of_a_track_at_a_rate():
    cast = Cast.swap(5, TARGET)
    for rate in (8.0, 25.0):
        track = performance_track(WORLD, TARGET.persona, TARGET.track, 31, rate)
        assert truth(WORLD, cast, 16, rate).performance == track[30]


def test_a_swap_keeps_the_targets_performance_and_scene():
    swapped = truth(WORLD, Cast.swap(5, TARGET), SIZE)
    own = render_frame(WORLD, *TARGET, SIZE)
    assert swapped.persona == sample_persona(WORLD, 5)
    assert swapped.performance == own.performance
    assert swapped.scene == own.scene == sample_scene(WORLD, 2, 0)

    # With the target's own proportions, every landmark lies where the target's does: the pose is the same.
    colours = ("skin_tone", "eye_colour", "lip_redness", "hair_colour")
    new_colours = {name: getattr(swapped.persona, name) for name in colours}
    painted = dataclasses.replace(own.persona, **new_colours)
    twin = render(painted, swapped.performance, swapped.scene, SIZE)
    assert np.array_equal(twin.landmarks, own.landmarks)
    assert np.abs(twin.image.astype(int) - own.image)[own.mask > 0].mean() > 10


def test_a_reenactment_keeps_all_of_the_source_but_its_performance():
    moved = shown(Cast.reenactment(source=OTHER, driving=TARGET))
    source, driving = shown(Cast.swap(5, OTHER)), shown(OWN)
    assert moved == source | {"performance": driving["performance"]}


def test_an_attribute_picture_keeps_all_but_the_identity_and_perhaps_the_expression():
    kept, identity = shown(OWN), shown(Cast.swap(5, OTHER))["identity"]
    assert shown(Cast.attribute(5, TARGET)) == kept | {"identity": identity}
    third = Take(persona=1, track=2, frame=11)
    lent = shown(Cast.attribute(5, TARGET, third))
    own, others = kept["performance"], shown(Cast.swap(1, third))["performance"]
    assert lent == kept | {"identity": identity, "performance": lent["performance"]}
    pose = {"yaw", "pitch", "roll", "translate_x", "translate_y"}
    for name, value in vars(lent["performance"]).items():
        assert value == getattr(own if name in pose else others, name), name
        assert getattr(own, name) != getattr(others, name), name


def test_the_shirt_stays_with_the_accessories():
    own, changed = (truth(WORLD, cast, SIZE) for cast in (OWN, Cast.attribute(5, TARGET)))
    swapped = truth(WORLD, Cast.swap(5, TARGET), SIZE)
    chest = np.s_[-4:, SIZE // 2 - 4 : SIZE // 2 + 4]
    np.testing.assert_allclose(changed.image[chest].mean(), own.image[chest].mean(), atol=2)
    assert abs(swapped.image[chest].mean((0, 1)) - own.image[chest].mean((0, 1))).max() > 10


@pytest.mark.parametrize(
    "change",
    [
        {"identity": -1},
        {"accessories": 0.5},
        {"performance": Take(0, 0, -1)},
        {"scene": Take(0, -1, 0)},
    ],
)
def test_impossible_numbers_are_refused(change):
    with pytest.raises(InputError, match="whole number"):
        truth(WORLD, dataclasses.replace(OWN, **change), SIZE)
