"""The largest batch that fits: found in few steps, whatever the memory does."""

import math

import pytest

from experiments import comb, x2face
from faceswap_jax.cost.fit import fits, largest, variants
from faceswap_jax.errors import InputError


def asked_of(needed, available, first, unit=1):
    """What is found, and the batches that were asked for."""
    asked = []

    def peak(batch):
        asked.append(batch)
        return needed(batch) if needed(batch) <= available else None

    return largest(peak, first, unit, available), asked


def test_a_line_takes_three_compilations():
    (batch, predicted), asked = asked_of(lambda batch: 100 + 9 * batch, 1000, 4)
    assert (batch, predicted) == (100, 1000) and asked == [4, 8, 100]


def test_a_line_is_not_followed_too_far():
    (batch, predicted), asked = asked_of(lambda batch: 100 + 9 * batch, 10_000, 4)
    assert (batch, predicted) == (1100, 10_000) and asked == [4, 8, 512, 1100]


def test_batches_are_multiples_of_a_unit():
    (batch, predicted), asked = asked_of(lambda batch: 100 + 9 * batch, 995, 8, unit=8)
    assert (batch, predicted) == (96, 964) and asked == [8, 16, 96]


@pytest.mark.parametrize(
    "needed",
    [
        lambda batch: 100 + batch**1.5,
        lambda batch: 100 + 30 * math.sqrt(batch),
        # Eight images side by side: fewer need as much.
        lambda batch: 100 + 40 * math.ceil(batch / 8),
        # Fewer than eight need more.
        lambda batch: 100 + 9 * batch + 200 * (batch < 8),
    ],
)
@pytest.mark.parametrize("first", [1, 6, 50, 600])
def test_what_is_no_line_is_found_to_within_a_tenth(needed, first):
    (batch, _), asked = asked_of(needed, 1000, first)
    assert needed(batch) <= 1000 < needed(math.ceil(1.12 * batch) + 1)
    assert len(asked) <= 12 and len(set(asked)) == len(asked)


@pytest.mark.parametrize(
    "needed",
    [
        # A flat line promises far more than there is.
        lambda batch: 100 + batch / 20 if batch < 9300 else 1100,
        # Waves: some batches fit though smaller ones do not.
        lambda batch: batch / 10 + 100 * math.sin(batch / 300),
        # Where memory gets short, every other batch is packed more tightly.
        lambda batch: batch / 10 - 200 * (batch > 8000 and batch // 500 % 2),
    ],
)
@pytest.mark.parametrize("first", [16, 9000, 20_000])
def test_what_does_not_grow_with_the_batch_is_not_asked_for_without_end(needed, first):
    (batch, _), asked = asked_of(needed, 1000, first)
    assert needed(batch) <= 1000 and batch > 8000
    assert len(asked) <= 12 and len(set(asked)) == len(asked)
    # What fits is confirmed by a line, or near what does not fit.
    too_large = min((one for one in asked if one > batch), default=batch)
    assert too_large <= 1.1 * batch


def test_a_large_first_batch_is_halved_until_one_fits():
    (batch, _), asked = asked_of(lambda batch: 300 * batch, 1000, 40)
    assert batch == 3 and asked[:5] == [40, 20, 10, 5, 2]


def test_none_may_fit():
    assert asked_of(lambda batch: 2000, 1000, 4) == ((0, None), [4, 2, 1])


def test_variants_are_combined():
    config = comb.get_config()
    assert variants(config, []) == [{}]
    found = variants(config, ["precision", "remat"])
    assert len(found) == 4
    assert found[0] == {"precision": "bfloat16", "model.remat": "none"}


def test_what_an_experiment_does_not_have_cannot_vary():
    with pytest.raises(InputError, match=r"has no config.model.remat"):
        variants(x2face.get_config(), ["remat"])
    with pytest.raises(InputError, match=r"cannot vary 'width'; .*precision or remat"):
        variants(x2face.get_config(), ["width"])


def test_of_a_small_network(task, mesh, spread):
    """On simulated devices, of a memory that holds three times the batch that was compiled first."""
    (cost,) = spread[0][-1]
    told = []
    (found,) = fits(task.config, mesh, 3 * cost.peak, [], told.append)
    assert found.variant == {} and found.batch % mesh.shape["data"] == 0
    assert found.cost.phase == task.phases[-1].name
    assert 2 * cost.peak < found.cost.peak < 3.5 * cost.peak
    assert found.predicted == pytest.approx(found.cost.peak, rel=0.1)
    assert told[0] == f"{found.cost.phase}, batch 2 (1 of about 3) ..."
    assert told[1].startswith(f"{found.cost.phase}, batch 4 (2 of about 3, about ")
