"""The oracle that this project ships: one network that reads the parameters of puppets from images.

experiments/oracle.py trains it; experiments/benchmarks/oracle.py measures a trained one and writes the file.
"""

import dataclasses
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipelines.puppets import samples
from data_pipelines.puppets.parameters import PERSONA_SPANS
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.frames import Frames, Landmarks, Masks
from faceswap_jax.models import oracle as network
from faceswap_jax.ops.masks import GREY, masked

Shown = Float[np.ndarray, "n s s 3"]
"""Images in 0..1."""

SHIPPED = Path(__file__).with_name("oracle.npz")
BATCH = 16
"""Images that are read at a time; fewer are filled up, so that one compiled program serves all."""


class Reading(NamedTuple):
    """What images show, in the units of the parameters, in the order of their tables of spans."""

    persona: Float32[np.ndarray, "n 26"]
    performance: Float32[np.ndarray, "n 14"]


@dataclasses.dataclass(frozen=True, eq=False)
class Oracle:
    """A trained network with its measured errors.

    Attributes:
        config: shape of the network.
        params: its weights.
        errors: mean absolute error of every parameter in its own unit, read of the face alone, on puppets that the
            network has never seen.
        picture_errors: the same read of whole images.
        reference: images of the renderer whose puppets it knows.
    """

    config: network.OracleConfig
    params: network.Params
    errors: Mapping[str, float]
    picture_errors: Mapping[str, float]
    reference: Frames

    def __call__(
        self,
        frames: Frames,
        landmarks: Landmarks,
        masks: Masks | None = None,
    ) -> Reading:
        """Reads faces in whole images of puppets as the renderer frames them.

        Args:
            frames: RGB, of any size.
            landmarks: where to look, in pixels: those of the target, for all results of swapping it. The view that they
                give has an alignment of its own, `samples.view`, whatever that of a generator.
            masks: 0..1, what may be seen; what is outside has no influence. Within the mask of the face only what a
                swap can change is read; hair is then a guess, as its errors say.

        Raises:
            InputError: the images are not square.
        """
        _, height, width, _ = frames.shape
        if height != width:
            raise InputError(f"The oracle reads square pictures, not {width} x {height} px.")
        # Starts with none: there may be no frames.
        values = [np.zeros((0, self.config.outputs), np.float32)]
        for start in range(0, len(frames), BATCH):
            part = slice(start, start + BATCH)
            visible = frames[part].astype(np.float32) / 255
            if masks is not None:
                visible = masked(visible, masks[part].astype(np.float32))
            values.append(self._read_batch(np.asarray(visible), landmarks[part]))

        # The network may answer with what no puppet has.
        spans = samples.SPANS.values()
        low = np.array([span.low for span in spans], np.float32)
        high = np.array([span.high for span in spans], np.float32)
        parameters = np.concatenate(values).clip(low, high)
        persona, performance = np.split(parameters, [len(PERSONA_SPANS)], axis=1)
        return Reading(persona, performance)

    def _read_batch(self, images: Shown, landmarks: Landmarks) -> Float32[np.ndarray, "n 40"]:
        """The parameters of up to BATCH images, in their units."""
        views = [samples.view(face) for face in landmarks]
        # What is not filled stays grey.
        side, detail_side = samples.SIDE, samples.DETAIL_SIDE
        x = np.full((BATCH, side, side, 3), GREY, np.float32)
        details = np.full(
            (BATCH, len(samples.DETAILS), detail_side, detail_side, 3), GREY, np.float32
        )
        for i, view in enumerate(views):
            x[i], details[i] = samples.look(images[i], view)
        normalised = np.asarray(_apply(self.config, self.params, x, details))

        width = images.shape[2]
        parameters = []
        # The rows behind the last view are those of grey.
        for view, values in zip(views, normalised, strict=False):
            parameters.append(samples.denormalise(values, view, width))
        return np.stack(parameters)

    def drift(self) -> float:
        """Mean difference, in grey levels, of the renderer's images now and when the network was trained.

        A hash would also tell machines apart whose last digits differ.
        """
        difference = reference().astype(int) - self.reference
        return float(np.abs(difference).mean())


def load_oracle(path: Path = SHIPPED) -> Oracle:
    """The oracle of this project, or another one.

    Raises:
        InputError: there is no such file, or it is no oracle.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(stored["about"].item())
            for name in ("levels", "detail_levels"):
                about["config"][name] = tuple(about["config"][name])
            config = network.OracleConfig(**about["config"])
            return Oracle(
                config=config,
                params=_read_weights(config, stored),
                errors=about["errors"],
                picture_errors=about["picture_errors"],
                reference=stored["reference"],
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"'{path}' is not an oracle ({error}); train and store it, see experiments/oracle.py."
        ) from error


def save_oracle(path: Path, oracle: Oracle) -> None:
    """Writes an oracle, its weights as float16."""
    config = dict(vars(oracle.config))
    # How it computes is the reader's business.
    del config["dtype"]
    about = {
        "config": config,
        "errors": dict(oracle.errors),
        "picture_errors": dict(oracle.picture_errors),
    }
    weights = jax.tree_util.tree_leaves_with_path(oracle.params)
    # Half the size, and far finer than the network's errors
    arrays = {_name(path): np.asarray(leaf, np.float16) for path, leaf in weights}
    np.savez_compressed(path, about=json.dumps(about), reference=oracle.reference, **arrays)


class Errors(NamedTuple):
    """How far off an oracle is on puppets that it has never seen.

    Attributes:
        truth: what they are, in the units of the parameters.
        face: absolute errors, read of the face alone.
        picture: the same, of whole images.
    """

    truth: Float[np.ndarray, "n 40"]
    face: Float[np.ndarray, "n 40"]
    picture: Float[np.ndarray, "n 40"]


def errors(oracle: Oracle, world_seed: int, numbers: Sequence[int], size: int = 256) -> Errors:
    """Reads some puppets.

    Args:
        oracle: whose errors are not looked at.
        world_seed: of the puppets.
        numbers: of `samples.sample_frame`.
        size: side of the images in pixels.
    """
    frames = [samples.sample_frame(world_seed, number, size) for number in numbers]
    truth = np.stack([samples.parameters(frame) for frame in frames])
    images = np.stack([frame.image for frame in frames])
    landmarks = np.stack([frame.landmarks for frame in frames])
    masks = np.stack([frame.mask for frame in frames]) / np.float32(255)

    def off(visible: Masks | None) -> Float[np.ndarray, "n 40"]:
        read = np.concatenate(oracle(images, landmarks, visible), axis=1)
        return np.abs(read - truth)

    return Errors(truth, off(masks), off(None))


def measured(oracle: Oracle, found: Errors) -> Oracle:
    """The oracle with the means of its errors."""

    def means(of: Float[np.ndarray, "n 40"]) -> dict[str, float]:
        return dict(zip(samples.SPANS, of.mean(0).astype(float).tolist(), strict=True))

    return dataclasses.replace(
        oracle, errors=means(found.face), picture_errors=means(found.picture)
    )


def reference() -> UInt8[np.ndarray, "4 64 64 3"]:
    """Images of a few puppets, as the renderer makes them now."""
    frames = [samples.sample_frame(world_seed=0, index=number, size=64) for number in range(4)]
    return np.stack([frame.image for frame in frames])


_apply = jax.jit(network.apply, static_argnums=0)


def _read_weights(config: network.OracleConfig, stored: Mapping[str, np.ndarray]) -> network.Params:
    """The stored weights in the shapes and types that the network wants.

    Raises:
        KeyError: a weight is missing.
        ValueError: one has another size.
    """

    def read(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        weights = jnp.asarray(stored[_name(path)], leaf.dtype)
        return weights.reshape(leaf.shape)

    abstract = jax.eval_shape(lambda: network.init(config, jax.random.key(0)))
    return jax.tree_util.tree_map_with_path(read, abstract)


def _name(path: tuple) -> str:
    """Where a weight stands in the tree, such as "level_0/down/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
