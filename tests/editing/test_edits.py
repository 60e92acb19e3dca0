"""What is added to the latents of faces, frame by frame."""

import numpy as np
import pytest

from faceswap_jax.editing.edits import Edits
from faceswap_jax.editing.keyframes import Curve
from faceswap_jax.errors import InputError
from faceswap_jax.faces.video import Frame
from tests.support.made_vectors import vector

SMILE, LIDS = vector(), vector(name="lids", values=list(map(float, range(8))))


def edits(*curves) -> Edits:
    return Edits(curves, {"smile": SMILE, "lids": LIDS})


REST = np.zeros((1, 8), np.float32)


def added(found: Edits, face: int, time: float, z=REST) -> np.ndarray:
    """What is added to the latents of a face in a frame of that time."""
    return found.of_faces([0, 1])[face]([Frame(None, time, 0)], z)[0]


def test_vectors_add_up_as_strong_as_their_curves_say():
    found = edits(Curve("smile", None, [0, 2], [0, 1]), Curve("lids", None, [0], [-0.5]))
    expected = 0.25 * np.array(SMILE.values) - 0.5 * np.array(LIDS.values)
    np.testing.assert_allclose(added(found, 0, 0.5), expected, atol=1e-6)
    assert added(found, 0, 0.5).dtype == np.float32


def test_a_curve_of_one_face_edits_no_other():
    found = edits(Curve("smile", 1, [0], [1]), Curve("lids", None, [0], [1]))
    np.testing.assert_allclose(added(found, 0, 0), LIDS.values)
    both = np.add(SMILE.values, LIDS.values)
    np.testing.assert_allclose(added(found, 1, 0), both, atol=1e-6)


@pytest.mark.parametrize(
    ("has", "weight", "gets"),
    [(0.0, 1.0, 1.0), (1.0, 1.0, 0.5), (2.0, 1.0, 0.0), (2.0, -1.0, -1.0), (0.0, -1.0, -0.5)],
)
def test_no_edit_leads_a_face_beyond_what_is_known(has, weight, gets):
    """Known faces have -0.5 to 1.5 times the vector; one that has more already may stay."""
    bounded = Edits([Curve("smile", None, [0], [weight])], {"smile": vector(reach=(-0.5, 1.5))})
    z = np.float32([np.multiply(has, SMILE.values)])
    expected = np.multiply(gets, SMILE.values)
    np.testing.assert_allclose(added(bounded, 0, 0.0, z), expected, atol=1e-5)


def test_a_face_without_edits_is_left_alone():
    assert list(edits(Curve("smile", 1, [0], [1])).of_faces([0, 1])) == [1]


def test_a_face_that_is_not_replaced_is_told():
    with pytest.raises(
        InputError, match=r"'smile' is to edit face 2, but what is replaced is .* 0"
    ):
        edits(Curve("smile", 2, [0], [1])).of_faces([0])
