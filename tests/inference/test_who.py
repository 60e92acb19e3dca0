"""Who is to be shown, from what the command was given."""

from types import SimpleNamespace

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.inference.who import who_is

KNOWN = SimpleNamespace(personas=("alice", "bob", "take:2"))


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("alice", {"alice": 1.0}),
        ("take:2", {"take:2": 1.0}),
        ("alice:0.7,bob:0.3", {"alice": 0.7, "bob": 0.3}),
        ("alice:1", {"alice": 1.0}),
        ("take:2:0.25, alice:.75", {"take:2": 0.25, "alice": 0.75}),
    ],
)
def test_a_persona_is_a_name_or_names_with_weights(text, weights):
    assert who_is(KNOWN, text, ()).personas == weights


@pytest.mark.parametrize("text", ["alice:0.7,bob", "alice:much", ":1", "alice:nan", "alice:0.5,"])
def test_a_mix_that_is_written_otherwise_is_refused(text):
    with pytest.raises(InputError, match=r"--persona has .*alice:0.7,bob:0.3"):
        who_is(KNOWN, text, ())


def test_a_persona_that_comes_twice_in_a_mix_is_refused():
    with pytest.raises(InputError, match=r"'alice' twice"):
        who_is(KNOWN, "alice:0.5,alice:0.5", ())
