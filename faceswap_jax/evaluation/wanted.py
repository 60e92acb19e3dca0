"""Whom results are to show: a persona in the place of the performer, or features that others lend, role by role."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_pipelines.clips import Clip
from faceswap_jax.roles.identities import IDENTITY
from faceswap_jax.roles.lending import EXPRESSION

BOTH = "both"
"""The table of those who are lent both roles, by two people."""


class Wanted(NamedTuple):
    """What a result shows of others.

    Attributes:
        identity: the persona; None: the performer stays.
        expression: whose expression; None: the performer's own.
    """

    identity: str | None = None
    expression: str | None = None

    @property
    def roles(self) -> list[str]:
        """Those that others play, which head the columns of their images."""
        played = {IDENTITY: self.identity, EXPRESSION: self.expression}
        return [role for role, persona in played.items() if persona is not None]

    def words(self, performer: str) -> list[str]:
        """What a performer becomes: ben as ada with expression of eve."""
        found = [performer]
        if self.identity is not None:
            found += ["as", self.identity]
        if self.expression is not None:
            found += ["with", "expression", "of", self.expression]
        return found


Pair = tuple[Wanted, Clip]
"""What a result shows, and in whose place: the performer of the clip."""


def pairs_of(personas: Sequence[str], clips: Sequence[Clip]) -> list[Pair]:
    """Every persona that has a clip itself, with every clip of the others."""
    return [(Wanted(persona), clip) for persona, clip in _with_others(personas, clips)]


def pairs_by_role(roles: Sequence[str], clips: Sequence[Clip]) -> dict[str, list[Pair]]:
    """What everybody lends to everybody else, by role, and both roles lent by two people; without what nobody can.

    Args:
        roles: that others can play.
        clips: of everybody.
    """
    people = list(dict.fromkeys(clip.persona for clip in clips))
    pairs = _with_others(people, clips)
    tables: dict[str, list[Pair]] = {}
    if IDENTITY in roles:
        tables[IDENTITY] = [(Wanted(person), clip) for person, clip in pairs]
    if EXPRESSION in roles:
        tables[EXPRESSION] = [(Wanted(expression=person), clip) for person, clip in pairs]
    # Both need a third one.
    if {IDENTITY, EXPRESSION} <= set(roles) and len(people) > 2:
        tables[BOTH] = []
        for person, clip in pairs:
            third = next(other for other in _after(person, people) if other != clip.persona)
            tables[BOTH].append((Wanted(person, third), clip))
    return {role: found for role, found in tables.items() if found}


def _with_others(personas: Sequence[str], clips: Sequence[Clip]) -> list[tuple[str, Clip]]:
    filmed = {clip.persona for clip in clips}
    pairs = []
    for persona in personas:
        if persona in filmed:
            pairs += [(persona, clip) for clip in clips if clip.persona != persona]
    return pairs


def _after(person: str, people: Sequence[str]) -> Iterator[str]:
    """The others, from the next one on, and from the first one again."""
    place = people.index(person)
    yield from people[place + 1 :]
    yield from people[:place]
