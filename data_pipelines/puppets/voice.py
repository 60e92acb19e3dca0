"""The audio of a puppet's track: a voice that follows the mouth.

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
# Fraction of the pitch and Hz of each wave of it: intonation, and a slight vibrato.
_WAVER = (
    (0.06, 0.23),
    (0.04, 0.61),
    (0.008, 5.1),
)
_BANDWIDTHS = (90.0, 110.0)  # Hz
_HIGHEST = 4000.0  # Hz of the highest harmonic; the formants leave little above
_VOICE_STREAM = 5  # a random stream of the world, beside those of the tracks


def formants(
    mouth_open: Float[np.ndarray, "n"],
    smile: Float[np.ndarray, "n"],
    pucker: Float[np.ndarray, "n"],
) -> Float[np.ndarray, "2 n"]:
    """First formant, 280 to 790 Hz, and second, 860 to 2110 Hz."""
    first = 280.0 * 2.0 ** (1.5 * mouth_open)
    second = 1600.0 * 2.0 ** (0.4 * smile - 0.5 * pucker)
    return np.stack([first, second])


def loudness(mouth_open: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Root mean square of the audio, full scale; zero up to CLOSED, without a kink there."""
    opening = np.maximum(mouth_open - CLOSED, 0.0)
    return _LOUDNESS * opening**2 / (opening + _ONSET)


def pitch(world_seed: int, persona: int) -> float:
    """Mean frequency of a persona's voice, Hz, about 90 to 230: the larger the head, the deeper."""
    identity = sample_persona(world_seed, persona)
    size = identity.head_width * identity.head_height
    return _PITCH * size**-2.5


def track_audio(
    world_seed: int,
    persona: int,
    track: int,
    frames: int,
    rate: float = RATE,
) -> Int16[np.ndarray, "samples"]:
    """Audio of the first `frames` frames of `performance_track`, 16 kHz mono; sample i belongs to the time i / 16000.

    Frame k is at the time k / rate, and the mouth moves smoothly from one frame to the next. Each sample is the same
    for any `frames`.
    """
    samples = round(frames * AUDIO_RATE / rate)
    seconds = math.ceil(samples / AUDIO_RATE)
    needed = math.ceil(seconds * rate) + 2
    performances = performance_track(world_seed, persona, track, needed, rate)
    mouth = np.array([(p.mouth_open, p.smile, p.pucker) for p in performances])

    rng = np.random.default_rng([world_seed, _VOICE_STREAM, persona, track])
    phases = rng.uniform(0.0, 2.0 * np.pi, len(_WAVER))

    # Whole seconds, each computed by itself: no sample can depend on how many there are.
    mean_pitch = pitch(world_seed, persona)
    voice = [np.zeros(0, np.int16)]
    for number in range(seconds):
        voice.append(_second(number, mouth, rate, mean_pitch, phases))
    return np.concatenate(voice)[:samples]


def _second(
    number: int,
    mouth: Float[np.ndarray, "frames 3"],
    rate: float,
    mean_pitch: float,
    phases: Float[np.ndarray, "3"],
) -> Int16[np.ndarray, "16000"]:
    """Audio of one second of a track.

    Args:
        number: of the second.
        mouth: mouth_open, smile and pucker of the track's frames, to the second one after the end of this second.
        rate: frames per second.
        mean_pitch: Hz.
        phases: of the waves of the pitch.
    """
    time = number + np.arange(AUDIO_RATE) / AUDIO_RATE

    # Monotone cubic interpolation: what is closed in two frames stays closed between them.
    first = max(math.floor(number * rate) - 1, 0)
    last = math.ceil((number + 1) * rate) + 1
    numbers = np.arange(first, last + 1)
    path = PchipInterpolator(numbers, mouth[numbers])
    mouth_open, smile, pucker = path(time * rate).T

    base, tone = _waver(time, mean_pitch, phases)
    resonances = formants(mouth_open, smile, pucker)
    count = int(_HIGHEST / mean_pitch)
    voice, power = _harmonics(count, base, tone, resonances)
    loud = 32767 * loudness(mouth_open) * voice / np.sqrt(power)
    return np.rint(loud).astype(np.int16)


def _waver(
    time: Float[np.ndarray, "n"], mean_pitch: float, phases: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "n"], Complex[np.ndarray, "n"]]:
    """The wavering pitch in Hz at times in seconds, and the tone of that pitch, of length 1."""
    wave = np.ones_like(time)  # in fractions of the mean
    turns = time.copy()  # its integral
    for (depth, frequency), phase in zip(_WAVER, phases, strict=True):
        radians = 2.0 * np.pi * frequency  # per second
        angle = radians * time + phase
        wave += depth * np.sin(angle)
        turns -= depth * np.cos(angle) / radians
    tone = np.exp(2j * np.pi * mean_pitch * turns)
    return mean_pitch * wave, tone


def _harmonics(
    count: int,
    base: Float[np.ndarray, "n"],
    tone: Complex[np.ndarray, "n"],
    resonances: Float[np.ndarray, "2 n"],
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """The sum of harmonics through the formants, and its mean power.

    Args:
        count: of the harmonics.
        base: pitch at every sample, Hz.
        tone: of that pitch, of length 1.
        resonances: both formants, Hz.
    """
    voice = np.zeros_like(base)
    power = np.zeros_like(base)
    harmonic = np.ones_like(tone)
    for order in range(1, count + 1):
        harmonic *= tone
        # A glottal pulse and the lips: -6 dB per octave.
        response = _response(order * base, resonances) / order
        voice += (harmonic * response).real
        power += np.abs(response) ** 2 / 2
    return voice, power


def _response(
    frequency: Float[np.ndarray, "n"], resonances: Float[np.ndarray, "2 n"]
) -> Complex[np.ndarray, "n"]:
    """Response of two resonators in a row to a frequency (Hz), as if the resonances (Hz) stood still."""
    response = 1.0
    for resonance, bandwidth in zip(resonances, _BANDWIDTHS, strict=True):
        damped = resonance**2 - frequency**2 + 1j * bandwidth * frequency
        response = response * resonance**2 / damped
    return response
