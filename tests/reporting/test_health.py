"""Warnings about trainings against a discriminator."""

import pytest

from faceswap_jax.reporting.health import warnings_of

APART = 0.7


def rows(scores=(), apart=(APART,)):
    """Logged rows of the discriminator, then evaluations."""
    logged = [{"step": i, "told_apart": value} for i, value in enumerate(apart)]
    evaluated = []
    for i, (psnr, identity) in enumerate(scores):
        values = {"psnr": psnr, "identity": identity, "identity/untouched": 0.8}
        evaluated.append({"step": 100 * i} | {f"eval/{name}": v for name, v in values.items()})
    return [*logged, *evaluated]


def test_a_good_training_has_no_warnings():
    assert warnings_of([]) == []
    assert warnings_of(rows()) == []
    scores = [(15.0, 0.79), (18.0, 0.5), (21.0, 0.2), (20.0, 0.15)]
    assert warnings_of(rows(scores, [0.6] * 20)) == []


def test_who_never_swaps_is_told():
    scores = [(15.0, 0.79), (18.0, 0.78), (21.0, 0.77)]
    assert warnings_of(rows(scores[:2])) == []
    (warning,) = warnings_of(rows(scores))
    assert warning.startswith(
        "No identity is lent: results are 0.77 from it, untouched pictures 0.80"
    )
    assert "config.loss.features" in warning
    assert warnings_of(rows([*scores, (21.0, 0.5)])) == []


def test_a_late_collapse_is_told():
    scores = [(15.0, 0.5), (21.0, 0.3), (17.9, 0.3)]
    (warning,) = warnings_of(rows(scores))
    assert "have 17.9 dB, and had 21.0 after step 100" in warning
    assert warnings_of(rows([*scores[:2], (18.1, 0.3)])) == []


@pytest.mark.parametrize(("apart", "won"), [([0.99] * 10, True), ([0.99] * 9, False)])
def test_a_discriminator_that_has_won_is_told(apart, won):
    assert any("99 %" in warning for warning in warnings_of(rows(apart=apart))) == won
    assert not warnings_of(rows(apart=[*apart, *[0.6] * 10]))


def test_other_trainings_are_none_of_these():
    scores = [
        row for row in rows([(21.0, 0.8), (15.0, 0.8), (14.0, 0.8)]) if "told_apart" not in row
    ]
    assert warnings_of(scores) == []
