"""Who is trained on and who is held out."""

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.tasks.open_set import trained_identities


def people(*names, pictures=2):
    return {name: range(pictures) for name in names}


def test_the_last_people_are_held_out_and_numbers_in_names_count_as_numbers():
    many = people(*(f"puppet{i:03}" for i in range(1_000, 940, -1)))
    assert trained_identities(many, 0.1) == tuple(f"puppet{i:03}" for i in range(941, 995))
    mixed = people("b2c1", "a10", "7", "b2c", "a9", "b10")
    assert trained_identities(mixed, 0.1) == ("7", "a9", "a10", "b2c")


def test_nobody_with_too_few_pictures_counts():
    data = people("a", "b", "c", "d") | people("aa", pictures=1)
    assert trained_identities(data, 0.1, least=2) == ("a", "b")
    with pytest.raises(InputError, match="3 pictures or more"):
        trained_identities(data, 0.1, least=3)


def test_those_who_belong_together_are_trained_on_or_held_out_together():
    many = people(*(f"puppet{i:03}" for i in range(20)))
    for group, trained in ((1, 18), (2, 18), (4, 16)):
        assert len(trained_identities(many, 0.1, group=group)) == trained
