"""The voice follows the mouth, as an analysis by other means than the synthesis finds."""

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz

from data_pipelines.puppets import voice
from data_pipelines.puppets.parameters import Performance, sample_persona
from data_pipelines.puppets.tracks import performance_track
from data_pipelines.puppets.voice import AUDIO_RATE, CLOSED, formants, loudness, pitch, track_audio

TRACK = (0, 5, 1)
RATE, FRAMES = 25.0, 500
HOP = round(AUDIO_RATE / RATE)


@pytest.fixture(scope="module")
def spoken():
    """Samples of every frame [frames, HOP], and mouth_open, smile and pucker in its middle."""
    sound = track_audio(*TRACK, FRAMES).reshape(FRAMES, HOP) / 32768
    values = [[p.mouth_open, p.smile, p.pucker] for p in performance_track(*TRACK, FRAMES + 1)]
    return sound, (np.array(values[1:]) + values[:-1]).T / 2


def lpc_formants(samples: np.ndarray) -> np.ndarray:
    """Two resonances, Hz, by linear prediction (autocorrelation method) at 8 kHz, the source's tilt undone."""
    samples = np.diff(samples[::2])
    samples = samples * np.hamming(len(samples))
    correlation = np.correlate(samples, samples, "full")[len(samples) - 1 :][:5]
    roots = np.roots([1.0, *-solve_toeplitz(correlation[:-1], correlation[1:])])
    return np.sort(np.abs(np.angle(roots)))[1::2] * AUDIO_RATE / 2 / (2 * np.pi)


def spoken_with(monkeypatch, **values: float) -> np.ndarray:
    """A second of one mouth, held still."""
    still = Performance(**{"mouth_open": 0.5, **values})
    monkeypatch.setattr(voice, "performance_track", lambda *args: [still] * args[3])
    return track_audio(0, 8, 0, 25) / 32768


def test_loudness_follows_the_opening_of_the_mouth(spoken):
    sound, (mouth_open, _, _) = spoken
    levels = np.sqrt(np.mean(sound**2, axis=1))
    assert np.corrcoef(levels, mouth_open)[0, 1] > 0.97
    assert levels.max() > 0.1 and np.abs(sound).max() < 1.0
    still = levels[mouth_open > 0.3] / loudness(mouth_open[mouth_open > 0.3])
    assert np.median(still) == pytest.approx(1.0, abs=0.05)


def test_a_closed_mouth_is_silent(spoken):
    sound, _ = spoken
    mouth_open = np.array([p.mouth_open for p in performance_track(*TRACK, FRAMES + 1)])
    closed = np.maximum(mouth_open[:-1], mouth_open[1:]) <= CLOSED
    assert 0.05 < closed.mean() < 0.5 and not sound[closed].any()
    assert np.abs(sound[mouth_open[:-1] > 0.2]).max(axis=1).min() > 0.01


def test_the_first_formant_rises_with_the_opening(monkeypatch):
    openings = np.linspace(0.2, 1.0, 5)
    found = [lpc_formants(spoken_with(monkeypatch, mouth_open=value))[0] for value in openings]
    assert np.all(np.diff(found) > 50)
    assert found == pytest.approx(formants(openings, 0 * openings, 0 * openings)[0], rel=0.12)


def test_the_second_formant_rises_with_a_smile_and_falls_with_a_pucker(monkeypatch):
    for name, values, sign in (
        ("smile", np.linspace(-1, 1, 5), 1),
        ("pucker", np.linspace(0, 1, 5), -1),
    ):
        found = [lpc_formants(spoken_with(monkeypatch, **{name: value}))[1] for value in values]
        assert np.all(sign * np.diff(found) > 40), name
    both = np.full(1, 0.5), np.full(1, -1.0), np.full(1, 1.0)
    low, high = lpc_formants(spoken_with(monkeypatch, smile=-1.0, pucker=1.0))
    assert (low, high) == pytest.approx(formants(*both)[:, 0], rel=0.12)


def test_a_moving_voice_has_the_formants_of_its_mouth(spoken):
    sound, values = spoken
    open_wide = np.flatnonzero(values[0] > 0.3)
    found = np.array([lpc_formants(sound[frame]) for frame in open_wide]).T
    wanted = formants(*values[:, open_wide])
    assert np.corrcoef(found[0], wanted[0])[0, 1] > 0.8
    assert np.corrcoef(found[1], wanted[1])[0, 1] > 0.8


@pytest.mark.parametrize("persona", [4, 8, 17])
def test_pitch_is_that_of_the_persona(persona):
    sound = track_audio(0, persona, 0, FRAMES).reshape(-1, 2 * HOP) / 32768
    found = []
    for piece in sound[np.sqrt(np.mean(sound**2, axis=1)) > 0.03]:
        correlation = np.correlate(piece, piece, "full")[len(piece) - 1 :]
        periods = np.arange(AUDIO_RATE // 300, AUDIO_RATE // 70)
        found.append(AUDIO_RATE / periods[np.argmax(correlation[periods])])
    assert len(found) > 50
    assert np.median(found) == pytest.approx(pitch(0, persona), rel=0.06)


def test_larger_heads_have_deeper_voices():
    heads = [sample_persona(0, p) for p in range(40)]
    sizes = [head.head_width * head.head_height for head in heads]
    pitches = np.array([pitch(0, p) for p in range(40)])
    assert np.all(np.diff(pitches[np.argsort(sizes)]) < 0)
    assert 80 < pitches.min() < 110 and 180 < pitches.max() < 250


@pytest.mark.parametrize("rate", [3.0, 25.0, 29.97, 240.0])
def test_a_sound_is_the_beginning_of_a_longer_one(rate):
    longer = track_audio(0, 3, 2, 60, rate)
    assert longer.dtype == np.int16 and len(longer) == round(60 * AUDIO_RATE / rate)
    for frames in (0, 1, 41):
        shorter = track_audio(0, 3, 2, frames, rate)
        assert len(shorter) == round(frames * AUDIO_RATE / rate)
        assert np.array_equal(shorter, longer[: len(shorter)])


def test_sound_belongs_to_world_persona_and_track():
    sounds = [
        track_audio(*which, 25) for which in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0))
    ]
    assert np.array_equal(sounds[0], sounds[-1])
    for other in sounds[1:-1]:
        assert np.abs(np.corrcoef(sounds[0], other)[0, 1]) < 0.3


def test_no_clicks(spoken):
    """No sample departs from what its neighbours let expect, not even where one second meets the next."""
    sound = np.pad(spoken[0].ravel(), 2)
    surprise = np.abs(np.convolve(sound, [-1 / 6, 4 / 6, -1, 4 / 6, -1 / 6], "valid"))
    level = np.sqrt(np.convolve(spoken[0].ravel() ** 2, np.ones(HOP) / HOP, "same"))
    assert np.max(surprise / (level + 1e-3)) < 1.5
    seams = np.arange(AUDIO_RATE, len(surprise), AUDIO_RATE)
    around = np.array([surprise[seam - 3 : seam + 3].max() for seam in seams])
    assert np.median(around) < np.quantile(surprise, 0.99)
