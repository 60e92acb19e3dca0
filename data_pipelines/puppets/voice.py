"""What a puppet's track sounds like: a voice that follows the mouth.

A source-filter voice: harmonics of a wavering pitch through two formants. Loudness and the first formant follow how far
the mouth is open, the second formant follows smile and pucker; a closed mouth is silent. The formants span those of
Peterson and Barney, "Control methods used in a study of the vowels" (1952). The pitch falls with the size of the head.
"""

import math

import numpy as np
from jaxtyping import Complex, Float, Int16
from scipy.interpolate import PchipInterpolator

from data_pipelines.puppets.parameters import sample_persona
from data_pipelines.puppets.tracks import RATE, performance_track
from faceswap_jax.faces.audio import RATE as AUDIO_RATE

CLOSED = 0.04
"""A mouth that is open no further gives no sound."""

_LOUDNESS = 0.2  # slope of the root mean square, full scale, over the opening of the mouth
_ONSET = 0.1  # of mouth_open, beyond which loudness is about linear
_PITCH = 140.0  # Hz of a head of average size
_WAVER = (
    (0.06, 0.23),
    (0.04, 0.61),
    (0.008, 5.1),
)  # shares of the pitch, Hz: intonation, and a slight vibrato
_BANDWIDTHS = (90.0, 110.0)  # Hz
_HIGHEST = 4000.0  # Hz of the highest harmonic; the formants leave little above
_VOICE_STREAM = 5  # a random stream of the world, beside those of the tracks


def formants(
    mouth_open: Float[np.ndarray, "n"],
    smile: Float[np.ndarray, "n"],
    pucker: Float[np.ndarray, "n"],
) -> Float[np.ndarray, "2 n"]:
    """First formant, 280 to 790 Hz, and second, 860 to 2110 Hz."""
    return np.stack(
        [280.0 * 2.0 ** (1.5 * mouth_open), 1600.0 * 2.0 ** (0.4 * smile - 0.5 * pucker)]
    )


def loudness(mouth_open: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Root mean square of the sound, full scale; zero up to CLOSED, without a kink there."""
    opening = np.maximum(mouth_open - CLOSED, 0.0)
    return _LOUDNESS * opening**2 / (opening + _ONSET)


def pitch(world_seed: int, persona: int) -> float:
    """Mean frequency of a persona's voice, Hz, about 90 to 230: the larger the head, the deeper."""
    identity = sample_persona(world_seed, persona)
    return _PITCH * (identity.head_width * identity.head_height) ** -2.5


def track_audio(
    world_seed: int, persona: int, track: int, frames: int, rate: float = RATE
) -> Int16[np.ndarray, "samples"]:
    """Sound of the first `frames` frames of `performance_track`, 16 kHz mono; sample i belongs to the time i / 16000.

    Frame k is at the time k / rate, and the mouth moves smoothly from one frame to the next. Each sample is the same
    for any `frames`.
    """
    samples = round(frames * AUDIO_RATE / rate)
    seconds = -(-samples // AUDIO_RATE)
    performances = performance_track(
        world_seed, persona, track, math.ceil(seconds * rate) + 2, rate
    )
    values = np.array(
        [[getattr(p, name) for name in ("mouth_open", "smile", "pucker")] for p in performances]
    )
    rng = np.random.default_rng(np.random.SeedSequence([world_seed, _VOICE_STREAM, persona, track]))
    phases = rng.uniform(0.0, 2.0 * np.pi, len(_WAVER))
    # Whole seconds, each computed by itself: no sample can depend on how many there are.
    voice = [
        _second(number, values, rate, pitch(world_seed, persona), phases)
        for number in range(seconds)
    ]
    return np.concatenate([*voice, np.zeros(0, np.int16)])[:samples]


def _second(
    number: int,
    values: Float[np.ndarray, "frames 3"],
    rate: float,
    mean_pitch: float,
    phases: Float[np.ndarray, "3"],
) -> Int16[np.ndarray, "16000"]:
    """Sound of one second of a track.

    Args:
        number: of the second.
        values: mouth_open, smile and pucker of the track's frames, to the second one after the end of this second.
        rate: frames per second.
        mean_pitch: Hz.
        phases: of the waves of the pitch.
    """
    time = number + np.arange(AUDIO_RATE) / AUDIO_RATE
    # Monotone cubic interpolation: what is closed in two frames stays closed between them.
    first, last = max(math.floor(number * rate) - 1, 0), math.ceil((number + 1) * rate) + 1
    mouth_open, smile, pucker = PchipInterpolator(
        np.arange(first, last + 1), values[first : last + 1]
    )(time * rate).T
    wave, turns = (
        np.ones_like(time),
        time.copy(),
    )  # of the pitch, in shares of its mean, and its integral
    for (depth, frequency), phase in zip(_WAVER, phases, strict=True):
        angle = 2.0 * np.pi * frequency * time + phase
        wave += depth * np.sin(angle)
        turns -= depth * np.cos(angle) / (2.0 * np.pi * frequency)
    base, tone = mean_pitch * wave, np.exp(2j * np.pi * mean_pitch * turns)
    sound, power, harmonic = np.zeros_like(time), np.zeros_like(time), np.ones_like(tone)
    resonances = formants(mouth_open, smile, pucker)
    for order in range(1, int(_HIGHEST / mean_pitch) + 1):
        harmonic *= tone
        response = (
            _response(order * base, resonances) / order
        )  # a glottal pulse and the lips: -6 dB per octave
        sound += (harmonic * response).real
        power += np.abs(response) ** 2 / 2
    return np.rint(32767 * loudness(mouth_open) * sound / np.sqrt(power)).astype(np.int16)


def _response(
    frequency: Float[np.ndarray, "n"], resonances: Float[np.ndarray, "2 n"]
) -> Complex[np.ndarray, "n"]:
    """Of two resonators in a row, as if the resonances stood still."""
    response = 1.0
    for resonance, bandwidth in zip(resonances, _BANDWIDTHS, strict=True):
        response = (
            response * resonance**2 / (resonance**2 - frequency**2 + 1j * bandwidth * frequency)
        )
    return response
