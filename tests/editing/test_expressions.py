"""What the faces of a data set do, and which of them a query finds, on puppets whose parameters are known."""

import re

import numpy as np
import pytest

from faceswap_jax.editing.expressions import find, read_expressions, read_query
from faceswap_jax.errors import InputError
from tests.support.performers import performers, record, source


@pytest.fixture(scope="module")
def sources():
    return performers(3)


def found(sources, query):
    return [(f.place.persona, f.place.number) for f in find(sources, read_query(query))]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("mouth_open>0", [1, 3]),
        ("mouth_open<0", [0, 2]),
        ("yaw<1", [0, 2]),
        ("yaw > -1, yaw < 10", [2, 3]),
        ("jaw>0,yaw<10.5", [3]),
    ],
)
def test_a_query_finds_exactly_the_faces_whose_parameters_say_so(sources, query, numbers):
    """Of every puppet the same, however large its mouth is."""
    assert found(sources, query) == [(name, number) for name in sources for number in numbers]


def test_blendshapes_are_read_from_the_stored_images_of_those_that_fulfil_the_rest(sources):
    one = {"puppet1": source(1, [record(1, i, size=128) for i in (0, 1)])}
    assert found(one, "jawOpen>0.2") == [("puppet1", 1)]
    with pytest.raises(InputError, match=r"jawOpen reaches .* other conditions are fulfilled"):
        find(one, read_query("jawOpen>0.2,mouth_open<0"))


def test_what_is_found_tells_its_place_and_its_values(sources):
    face = find(sources, read_query("yaw>10"))[0]
    assert face.place == ("puppet0", 1, "a.mp4", 0, 10, 0.4)
    assert face.values == {"yaw": 20}


def test_measures_are_about_their_personas_mean_in_spreads(sources):
    known = read_expressions(sources)
    column = known.signals()["mouth_open"].reshape(3, 4)
    np.testing.assert_allclose(column.mean(1), 0, atol=1e-5)
    raw = known.measures[:, 14].reshape(3, 4)
    np.testing.assert_allclose(
        column[:, 1] - column[:, 0], (raw[:, 1] - raw[:, 0]) / 0.08, rtol=1e-4
    )


def test_without_a_side_a_signal_is_the_mean_of_both(sources):
    columns = read_expressions(sources).signals()
    both = (columns["left_lids"] + columns["right_lids"]) / 2
    np.testing.assert_array_equal(columns["lids"], both)


def test_a_face_without_irises_fulfils_no_condition_on_gaze(sources):
    blind = record(0, 2, irises=np.full((2, 2), np.nan, np.float32))
    some = {"puppet0": source(0, [record(0, 0), blind, record(0, 1)])}
    anywhere = found(some, "gaze_x>-100")
    assert anywhere == found(some, "gaze_x<100") == [("puppet0", 0), ("puppet0", 2)]
    assert len(found(some, "lids>-100")) == 3


def test_corrupt_records_are_left_out(sources):
    some = {"puppet0": source(0, [record(0, 0), b"damaged", record(0, 1)])}
    assert found(some, "yaw>-100") == [("puppet0", 0), ("puppet0", 2)]
    with pytest.raises(InputError, match="no intact record"):
        find({"puppet0": source(0, [b"damaged"])}, read_query("yaw>0"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("smile>1", "no signal 'smile' .*mouthSmileLeft or mouthSmileRight.*jaw, .*yaw"),
        ("mouth_opn>1", "perhaps mouth_open "),
        ("xyzzy>1", "'xyzzy' of a face: there are right_gaze_x, .*such as jawOpen"),
        ("yaw", "'yaw'; write conditions"),
        ("yaw>ten", "'yaw>ten'; write"),
        ("yaw>nan", "'yaw>nan'; write"),
        ("yaw>1,", "''; write"),
        ("yaw>=1", "'yaw>=1'; write"),
    ],
)
def test_queries_that_cannot_be_read(query, message):
    with pytest.raises(InputError, match=message):
        read_query(query)


def test_where_nothing_is_found_the_reach_of_each_signal_is_told(sources):
    with pytest.raises(InputError) as error:
        find(sources, read_query("yaw>30,roll>1"))
    assert re.search("yaw reaches from -20.00 to 20.00, roll reaches from 0", str(error.value))
