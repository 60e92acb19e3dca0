"""What generators say of themselves, and whom they refuse to show."""

from functools import partial

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.inference.described import DescribedGenerator, Description
from faceswap_jax.inference.generator import Who

PICTURE = np.zeros((16, 16, 3), np.uint8)


def described(**changes) -> Description:
    form = {"alignment": "eyes", "resolution": 16, "placement": "blended", "inputs": ("crops",)}
    form |= {"sound_window": 0, "personas": ("a", "b", "c"), "mixes": False, "by_pictures": False}
    return Description(**form | {"paintable": False, "parts": {}, "step": 0} | changes)


def test_a_persona_is_a_weight_of_one():
    assert described().weights(Who({"b": 1.0})).tolist() == [0, 1, 0]


def test_a_mix_is_a_weight_for_each():
    weights = described(mixes=True).weights(Who({"c": 0.25, "a": 0.75}))
    np.testing.assert_array_equal(weights, np.float32([0.75, 0, 0.25]))


def test_parts_of_the_latents_follow_one_another():
    assert described(parts={"eyes": 3, "mouth": 5}).slices() == {
        "eyes": slice(0, 3),
        "mouth": slice(3, 8),
    }


@pytest.mark.parametrize(
    ("mixes", "who", "message"),
    [
        (False, Who({"zoe": 1.0}), "no persona 'zoe'.*a, b, c"),
        (False, Who({"a": 0.5, "b": 0.5}), "mixes no personas"),
        (False, Who({"a": 0.5}), "with weight 1"),
        (False, Who(pictures=[PICTURE]), "trained on"),
        (True, Who({"a": 0.5}), "0.5; give weights from 0 to 1 whose sum is 1"),
        (True, Who({"a": 0.5, "b": 0.6}), "0.5, 0.6; give weights"),
        (True, Who({"a": -0.5, "b": 1.5}), "give weights from 0 to 1"),
    ],
)
def test_whom_it_cannot_show_is_refused(mixes, who, message):
    with pytest.raises(InputError, match=message):
        described(mixes=mixes).weights(who)


def test_several_pictures_together_are_their_mean_and_identities_stay_as_long_as_they_were():
    vectors = np.float32([[2.0, 0, 0, 0], [0, 2.0, 0, 0]])
    merged = partial(DescribedGenerator.merged, None)
    np.testing.assert_allclose(merged("expression", vectors), [1, 1, 0, 0])
    np.testing.assert_allclose(merged("identity", vectors), [2**0.5, 2**0.5, 0, 0], rtol=1e-5)
    assert merged("identity", vectors).dtype == np.float32
