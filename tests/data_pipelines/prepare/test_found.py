"""Who is kept of a clip, and on whom several clips agree, by identities that are drawn."""

import json
from dataclasses import asdict

import numpy as np

from data_pipelines.prepare.found import Found, FoundCut, FoundPerson, agree, as_text, pick

IDENTITIES = np.linalg.qr(np.random.default_rng(0).normal(size=(128, 4)))[0].T
"""Of four people, who have nothing in common."""


def somebody(number: int, filling: float = 1.0, blend: float = 0.0) -> FoundPerson:
    """A person; `blend` moves the identity towards the next one's."""
    identity = (1 - blend) * IDENTITIES[number] + blend * IDENTITIES[number - 3]
    return FoundPerson(3, 0.5, filling, as_text(identity / np.linalg.norm(identity)))


UNKNOWN = FoundPerson(3, 0.5, 0.9, None)


def test_who_fills_most_is_kept_if_nobody_is_wanted():
    assert pick([somebody(2), somebody(0)], None) == 0
    assert pick([], None) is None


def test_who_looks_like_the_wanted_is_kept():
    wanted = somebody(1).identity
    assert pick([somebody(0), somebody(1, blend=0.3), somebody(2)], wanted) == 1
    assert pick([UNKNOWN, somebody(1, blend=0.3)], wanted) == 1
    assert pick([somebody(0), UNKNOWN], wanted) is None
    assert pick([], wanted) is None


def agreed(*clips: list[FoundPerson]) -> int | None:
    return pick([somebody(number) for number in range(len(IDENTITIES))], agree(clips))


def test_clips_agree_on_who_fills_most_of_all_of_them():
    """Each counts alike: who fills a little more of one is less than who is in all."""
    talk = [[somebody(1, 0.6), somebody(0, 0.4)], [somebody(0)], [somebody(0, blend=0.2)]]
    assert agreed(*talk) == 0
    assert agreed(*reversed(talk)) == 0
    assert agreed([somebody(3, 0.7), somebody(2, 0.3)]) == 3


def test_two_people_of_one_clip_are_two_however_much_alike():
    twins = [somebody(0, 0.5), somebody(0, 0.4)]
    assert agreed(twins, [somebody(1, 0.8)]) == 1


def test_clips_in_which_nobody_is_known_agree_on_nobody():
    assert agree([[UNKNOWN], []]) is None


def test_what_was_found_survives_a_file():
    cut = FoundCut(3, 4, 0.16, 55.5, 0.01, "b")
    found = Found([somebody(0), UNKNOWN], 1, False, [cut])
    assert Found.from_json(json.loads(json.dumps(asdict(found)))) == found
    assert found.without_images().cuts[0].image == ""
