"""Whom the results of a bench are to show."""

from pathlib import Path

from data_pipelines.clips import Clip
from faceswap_jax.evaluation.wanted import Wanted, pairs_by_role, pairs_of

ADA, BEN, EVE = (Clip(Path(f"{name}.mp4"), name, f"{name}.mp4") for name in ("ada", "ben", "eve"))


def told(pairs):
    return [" ".join(wanted.words(clip.persona)) for wanted, clip in pairs]


def test_personas_of_a_run_are_shown_in_the_clips_of_others():
    assert told(pairs_of(["ada", "zoe"], [ADA, BEN])) == ["ben as ada"]
    assert pairs_of(["ada"], [ADA]) == []


def test_everybody_lends_everybody_else_each_role():
    tables = pairs_by_role(["identity", "expression"], [ADA, BEN])
    assert {role: told(pairs) for role, pairs in tables.items()} == {
        "identity": ["ben as ada", "ada as ben"],
        "expression": ["ben with expression of ada", "ada with expression of ben"],
    }
    assert list(pairs_by_role(["identity"], [ADA, BEN])) == ["identity"]
    assert pairs_by_role(["identity", "expression"], [ADA]) == {}


def test_both_roles_are_played_by_two_others():
    pairs = pairs_by_role(["identity", "expression"], [ADA, BEN, EVE])["both"]
    assert told(pairs) == [
        "ben as ada with expression of eve",
        "eve as ada with expression of ben",
        "ada as ben with expression of eve",
        "eve as ben with expression of ada",
        "ada as eve with expression of ben",
        "ben as eve with expression of ada",
    ]


def test_a_result_names_the_roles_that_others_play():
    assert Wanted("ada").roles == ["identity"]
    assert Wanted(expression="ada").roles == ["expression"]
    assert Wanted("ada", "eve").roles == ["identity", "expression"]
