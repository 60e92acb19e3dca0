"""How far the formats of an artifact are from the checkpoint, on faces that no training has seen."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from data_pipelines.puppets.tracks import Cast, Take, truth
from faceswap_jax.artifacts.programs import Program
from faceswap_jax.artifacts.runtime import Run
from faceswap_jax.faces import align, audio
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.video import Frame
from faceswap_jax.inference.batching import Performance, read_inputs
from faceswap_jax.inference.described import WEIGHTS
from faceswap_jax.inference.trained import TrainedGenerator

LIMITS = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-1}
"""Largest difference that is no fault, by the precision of weights and arithmetic. For halves it is a choice."""

RARE = 1e-3
"""Fraction of the values of images that may differ by more. A run of real people is shown puppets here, and at single
pixels of what a network has not learned rounding grows ten thousand times: other orders of its sums gave 1e-3."""

WORST = "worst value"
"""Name of the largest difference of images, with those that are rare."""

WORLD = 2**20
"""Seed of the puppets that are shown; trainings begin at 0."""

SIZE = 256
"""Pixels of their frames."""

FACES = 4
PERSONAS = 3
"""Compared at most."""

SHIFTED = 0.1
"""Deviation of what is added to latents, as a fraction of the latents' own size."""

Arrays = Mapping[str, np.ndarray]


def allowed(name: str, limit: float) -> float:
    """Largest difference that is no fault: the limit; of WORST 1 of 255, or ten times the limit if that is more."""
    return max(10 * limit, 1 / 255) if name == WORST else limit


def differences(
    generator: TrainedGenerator, programs: Mapping[str, Program], reference: Run, other: Run
) -> dict[str, float]:
    """Largest difference of each program: of images in [0, 1], of other arrays as a fraction of the largest value.

    RARE values of images do not count, but for the difference that is named WORST.

    Args:
        generator: of the checkpoint.
        programs: to compare, by name.
        reference: runs those of the checkpoint.
        other: runs those of a format.
    """
    worst = dict.fromkeys([*programs, WORST], 0.0)
    given = _faces(generator)
    truth, found = dict(given), dict(given)
    # Each goes its own way: differences of latents go on into images.
    for name in [name for name in ("encode", "identity", *generator.roles) if name in programs]:
        for output, array in reference(name, truth).items():
            close = other(name, found)[output]
            # NumPy's maximum of NaN and a number is NaN, Python's may be the number.
            worst[name] = float(np.maximum(worst[name], _relative(array, close)))
            truth[output], found[output] = array, close
    if "encode" in programs:
        # Half of the faces are shown as they are.
        shift = _noise(truth["latents"])
        truth["latents"], found["latents"] = truth["latents"] + shift, found["latents"] + shift

    def compare_images(name, identity):
        images = reference(name, truth | identity)["images"]
        close = other(name, found | identity)["images"]
        difference = np.abs(images - close)
        common = np.quantile(difference, 1 - RARE)
        worst[name] = float(np.maximum(worst[name], common))
        worst[WORST] = float(np.maximum(worst[WORST], difference.max()))

    (name,) = programs.keys() & {"decode", "images"}
    for identity in _identities(generator):
        compare_images(name, identity)
    if "sample" in programs:
        compare_images("sample", {})
    return worst


def _relative(array: np.ndarray, close: np.ndarray) -> float:
    return float(np.abs(array - close).max() / max(np.abs(array).max(), 1e-6))


def _noise(z: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=z.shape)
    noise[: FACES // 2] = 0
    return np.float32(SHIFTED * np.abs(z).max() * noise)


def _identities(generator: TrainedGenerator) -> list[Arrays]:
    """Some personas each, and a mix of all; or what pictures show, which is known by then."""
    if generator.description.by_pictures:
        return [{}]
    weights = list(np.eye(len(generator.personas), dtype=np.float32)[:PERSONAS])
    if generator.description.mixes:
        weights.append(np.full_like(weights[0], 1 / len(weights[0])))
    return [{WEIGHTS: each} for each in weights]


def _faces(generator: TrainedGenerator) -> dict[str, np.ndarray]:
    """What is read of the faces, pictures of whom to show, and numbers that make people, by name."""
    performance = _performance()
    read = read_inputs(generator, performance)
    arrays = {name: getattr(read, name) for name in generator.inputs}
    # Each face is lent what another has.
    count = FACES if generator.roles else 2
    arrays["pictures"] = np.stack(_pictures(generator, performance)[::-1][:count])
    drawn = np.random.default_rng(2).normal(size=(FACES, generator.synthesis.drawn))
    return arrays | {"drawn": np.float32(drawn)}


@cache
def _performance() -> Performance:
    """Faces of different puppets, as if they were frames of a clip with noise for sound."""
    frames, faces = [], []
    for number in range(FACES):
        take = Take(number, 0, 10 * number)
        shown = truth(WORLD, Cast.swap(number, take), SIZE)
        frames.append(Frame(shown.image, number / 25, number))
        faces.append(Face(shown.landmarks, 1.0))
    sound = np.random.default_rng(1).normal(scale=3000, size=audio.RATE).astype(np.int16)
    return Performance(frames, faces, sound)


def _pictures(generator: TrainedGenerator, performance: Performance) -> list[np.ndarray]:
    """The faces as pictures."""
    cut = []
    for frame, face in zip(performance.frames, performance.faces, strict=True):
        side = generator.resolution
        cut.append(align.cut_face(frame.image, face.landmarks, side, generator.alignment))
    return cut
