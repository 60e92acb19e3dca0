"""One persona's face in a picture or a clip: align, encode, decode, blend, paste back."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.progress import track

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, blend, video
from faceswap_jax.faces.encode import OUTPUT_SUFFIXES, write_video
from faceswap_jax.faces.face import Landmarker
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, is_picture, write_picture
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.registry import task_class
from faceswap_jax.training import runs

BATCH = 8  # frames that go through the network together
LARGEST_BLEND = 1024  # pixels

Transfer = Callable[[UInt8[np.ndarray, "b r r 3"]], UInt8[np.ndarray, "b r r 3"]]


@dataclass(frozen=True)
class Model:
    """A trained model, after `step` steps, that gives one persona's face to aligned crops of `resolution` pixels."""

    transfer: Transfer
    resolution: int
    step: int


def load_models(workdir: Path, step: int | None = None) -> dict[str, Model]:
    """The newest checkpoint of a run, or that of `step`, ready to swap to each of its personas.

    Raises:
        InputError: `workdir` holds no run, one that swaps no faces, or no such checkpoint.
    """
    config, mesh = configs.load(workdir / "config.json"), make_mesh()
    if not hasattr(task_class(config), "swap"):  # before a checkpoint is read for nothing
        raise InputError(
            f"'{workdir}' holds a run of '{config.task}', which swaps no faces; give another --workdir."
        )
    run = runs.load(workdir, mesh, step)
    transfer, resolution = (
        jax.jit(partial(run.task.swap, run.phase)),
        run.task.resolution(run.phase),
    )

    def swapped(index, crops):
        # One compiled program serves every batch, the short last one too.
        padded = np.concatenate([crops, np.zeros((BATCH - len(crops), *crops.shape[1:]), np.uint8)])
        with jax.set_mesh(mesh):
            return np.asarray(transfer(run.state, padded, index))[: len(crops)]

    done = int(run.state.step)
    return {
        name: Model(partial(swapped, i), resolution, done) for i, name in enumerate(config.personas)
    }


def load_model(workdir: Path, persona: str, step: int | None = None) -> Model:
    """One persona's model of `load_models`.

    Raises:
        InputError: as `load_models`, or the run has no such persona.
    """
    models = load_models(workdir, step)
    if persona not in models:
        raise InputError(f"'{workdir}' has no persona '{persona}'; it has {', '.join(models)}.")
    return models[persona]


@dataclass
class Count:
    """Frames of a swapped clip."""

    frames: int = 0
    without_face: int = 0


def swap_frames(
    frames: Iterator[video.Frame], landmarker: Landmarker, model: Model, method: str, count: Count
) -> Iterator[video.Frame]:
    """Frames with the largest face of each swapped; a frame without a face passes unchanged and is counted.

    Raises:
        InputError: at the end, when no frame showed a face.
    """
    side = None  # of the blending; fixed by the clip's first face, so that nothing changes from frame to frame
    for group in iter(lambda: list(itertools.islice(frames, BATCH)), []):
        faces = [next(iter(landmarker(frame.image, frame.index)), None) for frame in group]
        found = [i for i, face in enumerate(faces) if face is not None]
        transforms = {
            i: align.alignment_transform(faces[i].landmarks, model.resolution, "eyes")
            for i in found
        }
        images = [frame.image for frame in group]
        if found:
            side = side or blend_side(transforms[found[0]], model.resolution)
            crops = np.stack(
                [align.crop(images[i], transforms[i], model.resolution) for i in found]
            )
            for i, generated in zip(found, model.transfer(crops), strict=True):
                images[i] = put_face(images[i], generated, faces[i].landmarks, side, method)
        count.frames += len(group)
        count.without_face += len(group) - len(found)
        yield from (
            video.Frame(image, frame.time, frame.index)
            for image, frame in zip(images, group, strict=True)
        )
    if count.frames == count.without_face:
        raise InputError(
            f"None of the {count.frames} frames shows a face; give another clip, or landmarks beside it."
        )


def put_face(
    image: UInt8[np.ndarray, "h w 3"],
    generated: UInt8[np.ndarray, "r r 3"],
    landmarks: Float[np.ndarray, "68 2"],
    side: int,
    method: str,
) -> UInt8[np.ndarray, "h w 3"]:
    """Blends an aligned, generated crop into its frame.

    The blending works at `side` pixels, the resolution of the face in the frame, so that all that stays of the target
    keeps its sharpness however coarse the generated face is.
    """
    transform = align.alignment_transform(landmarks, side, "eyes")
    target = align.crop(image, transform, side)
    polygon = align.transform_points(align.face_polygon(landmarks), transform)
    blended = blend.blend(align.resize(generated, side), target, polygon, method)
    return blend.paste(image, target, blended, transform)


def blend_side(transform: Float[np.ndarray, "2 3"], resolution: int) -> int:
    """The power of two next above the crop's side in frame pixels, at least the network's resolution."""
    side = resolution / align.transform_scale(transform)
    return int(np.clip(2 ** np.ceil(np.log2(side)), resolution, LARGEST_BLEND))


def swap(
    workdir: Path,
    persona: str,
    source: Path,
    output: Path,
    method: str = "multiband",
    step: int | None = None,
) -> Count:
    """Gives `persona`'s face to the largest face of a picture or of every frame of a clip.

    Args:
        workdir: folder of a trained run.
        persona: one of its personas.
        source: picture or clip.
        output: picture, or H.264 clip with the source's frame rate and sound.
        method: blending, see `faces.blend.blend`.
        step: which checkpoint to use, by its number of steps; the newest if not given.

    Raises:
        InputError: any of these cannot be used, or no frame shows a face. Nothing is written then.
    """
    if method not in blend.METHODS:
        raise InputError(
            f"There is no blending '{method}'; choose one of {', '.join(blend.METHODS)}."
        )
    video.probe(source)
    suffixes = sorted(PICTURE_SUFFIXES) if is_picture(source) else OUTPUT_SUFFIXES
    if output.suffix.lower() not in suffixes:
        raise InputError(
            f"'{output}' cannot hold the result; choose a name that ends in {', '.join(suffixes)}."
        )
    if output.is_dir():
        raise InputError(f"'{output}' is a folder; choose another name for --output.")
    if output.exists() and output.samefile(source):
        raise InputError(f"'{output}' is the input itself; choose another name for --output.")
    if not output.absolute().parent.is_dir():
        raise InputError(f"The folder '{output.parent}' does not exist; make it first.")
    return swap_clip(load_model(workdir, persona, step), source, output, method)


def swap_clip(model: Model, source: Path, output: Path, method: str) -> Count:
    """`swap` with a loaded model and arguments known to be good."""
    console, count = Console(stderr=True), Count()
    with contextlib.closing(open_landmarker(source)) as landmarker:
        watched = track(
            video.read_frames(source),
            source.name,
            video.probe(source).frames,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        swapped = swap_frames(iter(watched), landmarker, model, method, count)
        if is_picture(source):
            (result,) = swapped
            write_picture(output, result.image)
        else:
            write_video(output, source, swapped)
    unchanged = (
        f", {count.without_face} without a face left unchanged" if count.without_face else ""
    )
    console.print(f"{output}: {count.frames} frames{unchanged}", highlight=False, soft_wrap=True)
    return count
