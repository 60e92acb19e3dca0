"""Whose face it is: by the nearest persona of a puppet world, or by the cosine of face embeddings."""

import math
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, Float32, Int

from faceswap_jax.evaluation.frames import Frames, Landmarks, PerFrame, Points
from faceswap_jax.faces import align
from faceswap_jax.faces.embedding import FaceEmbedder
from faceswap_jax.faces.face import Image
from faceswap_jax.losses import distributions
from faceswap_jax.models import inception as inception_model
from faceswap_jax.pretrained import embedder, inception

Distances = Float32[np.ndarray, "n p"]
Embeddings = Float32[np.ndarray, "n d"]
Direction = Float32[np.ndarray, "d"]


def distances(
    readings: Float[np.ndarray, "n k"],
    personas: Float[np.ndarray, "p k"],
    errors: Float[np.ndarray, "k"],
) -> Distances:
    """How far every reading is from every persona, in errors of the oracle: about 1.3 for the right one.

    The root mean square, over the parameters, of the differences divided by the oracle's mean absolute errors.

    Args:
        readings: parameters that the oracle reads off frames.
        personas: true parameters of the personas.
        errors: of the oracle, in the units of each parameter. Pass only parameters that a face swap can change.
    """
    # [n, p, k]
    differences = readings[:, None] - personas[None]
    scaled = differences / errors
    mean_square = np.square(scaled).mean(-1)
    return np.sqrt(mean_square).astype(np.float32)


def retrieved(distance: Distances, persona: int | Int[np.ndarray, "n"]) -> PerFrame:
    """1 for frames whose nearest persona is the given one, else 0: their mean is the top-1 accuracy."""
    return (distance.argmin(1) == persona).astype(np.float32)


class IResNetEmbedder:
    """The embedding, of unit length, by a network of `embedder.load`. Faces are cut as the network knows them.

    Raises:
        InputError: `path` holds no embedder.
    """

    def __init__(self, path: Path) -> None:
        loaded = embedder.load(path)
        self.size = loaded.config.embedding
        self._config = loaded.config
        self._alignment = loaded.alignment
        self._weights = jax.device_put((loaded.params, loaded.statistics))
        self._network = jax.jit(embedder.embed, static_argnums=0)

    def __call__(self, image: Image, landmarks: Points) -> Float32[np.ndarray, "d"]:
        """The embedding of one face."""
        # Twice the size that the network sees: its view shrinks it, without aliasing.
        side = 2 * self._config.side
        crop = align.cut_face(image, landmarks, side, self._alignment) / np.float32(255)
        (embedded,) = self._network(self._config, *self._weights, crop[None])
        return np.asarray(embedded)


class InceptionViews:
    """What Inception sees in a face: it knows nobody, and sets of faces are compared by it alone.

    Its features, divided so that the `feature_distance` of two sets is KID.

    Raises:
        InputError: `path` holds no weights of Inception, see `pretrained.inception`.
    """

    def __init__(self, path: Path) -> None:
        config, params = inception.read(path)
        network = jax.jit(inception_model.features, static_argnums=0)
        self._features = partial(network, config, jax.device_put(params))
        self._side = config.side
        one = jax.ShapeDtypeStruct((1, config.side, config.side, 3), np.float32)
        self.size = jax.eval_shape(self._features, one).shape[1]

    def __call__(self, image: Image, landmarks: Points) -> Float32[np.ndarray, "d"]:
        """Of all of one face, at one scale however it is turned."""
        crop = align.cut_face(image, landmarks, self._side, "stable") / np.float32(255)
        (seen,) = self._features(crop[None])
        return np.asarray(seen) / math.sqrt(self.size)


def embed_frames(embed: FaceEmbedder, frames: Frames, landmarks: Landmarks) -> Embeddings:
    """One embedding for each frame; NaN where the landmarks are."""
    result = np.full((len(frames), embed.size), np.nan, np.float32)
    for embedded, frame, points in zip(result, frames, landmarks, strict=True):
        if np.isfinite(points).all():
            embedded[:] = embed(frame, points)
    return result


def feature_distance(made: Embeddings, real: Embeddings) -> float:
    """How far a set of faces is from a set of real ones, as KID has it, by embeddings in place of Inception's features.

    Frames without a face are left out; NaN where fewer than two are left.

    Args:
        made: of unit length, so that they are compared at a variance of 1; or by `InceptionViews`.
        real: likewise.
    """
    sets = [faces[np.isfinite(faces).all(1)] for faces in (made, real)]
    return distributions.kernel_distance(*(math.sqrt(faces.shape[1]) * faces for faces in sets))


def template(embeddings: Embeddings) -> Direction:
    """The mean direction of a person's embeddings, of unit length; frames without a face are left out."""
    mean = np.nanmean(embeddings, axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def cosine(embeddings: Embeddings, reference: Direction | Embeddings) -> PerFrame:
    """Cosine of every embedding with a reference, or with one of its own: identity similarity (CSIM).

    All are of unit length.
    """
    return np.sum(embeddings * reference, axis=-1)
