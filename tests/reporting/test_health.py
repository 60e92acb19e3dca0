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


def drawn(real=0.6, made=-0.6, probability=(0.3,) * 10, held_out=0.5, spread=(0.9,) * 3, far=()):
    """Logged rows of StyleGAN2, then evaluations."""
    logged = []
    for i, value in enumerate(probability):
        logged.append({"step": i, "sign/real": real, "sign/made": made, "probability": value})
    evaluated = []
    for i, value in enumerate(spread):
        scores = {"sign/held_out": held_out, "sign/made": made, "spread": value}
        if far:
            scores["inception/frechet"] = far[i]
        evaluated.append({"step": 100 * i} | {f"eval/{name}": v for name, v in scores.items()})
    return [*logged, *evaluated]


RISING = tuple(0.01 * i for i in range(10))


@pytest.mark.parametrize(
    "rows",
    [
        drawn(),
        drawn(probability=(0.79,) * 10),
        # It begins like that; changes will hold it back.
        drawn(real=0.95, made=-0.95, held_out=0.9, probability=RISING),
        drawn(real=1.0, made=-1.0, held_out=1.0, probability=(0.0,) * 9),
        drawn(spread=(0.1, 0.1)),
        drawn(spread=(0.1, 0.3, 0.1)),
        drawn(held_out=0.1),
        drawn(held_out=-0.5, spread=(0.9,) * 2),
        drawn(far=(30.0, 10.0, 19.0)),
    ],
)
def test_a_good_stylegan2_has_no_warnings(rows):
    assert warnings_of(rows) == []


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (drawn(probability=(0.81,) * 10), "changed with a probability of 0.81"),
        (
            drawn(real=0.95, made=-0.97, held_out=0.9),
            "has won: mean signs of its verdicts are 0.95 on real images, -0.97 on made",
        ),
        (drawn(held_out=-0.1), "by heart: mean signs are 0.60 on them, -0.10 on people held out"),
        (drawn(spread=(0.9, 0.2, 0.2, 0.24)), "looks alike: it is spread 0.24 times as far"),
        (drawn(far=(30.0, 10.0, 21.0)), "eval/inception/frechet is 21, and was 10 after step 100"),
    ],
)
def test_what_goes_wrong_with_a_stylegan2_is_told(rows, told):
    (warning,) = warnings_of(rows)
    assert told in warning
