"""A clip through a generator: faces blended into its frames, or whole images of the generator's own."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16
from rich.console import Console
from rich.progress import track

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, audio, blend, video
from faceswap_jax.faces.encode import OUTPUT_SUFFIXES, write_video
from faceswap_jax.faces.face import Face, Image, Landmarker, Landmarks
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, is_picture, write_picture
from faceswap_jax.inference.batching import BATCH, Performance, generate
from faceswap_jax.inference.generator import Generator, Identity

LARGEST_BLEND = 1024
"""Side in pixels at which a face is blended at most."""


@dataclass
class Count:
    """Frames of a clip that went through a generator."""

    frames: int = 0
    without_face: int = 0


class Generated(NamedTuple):
    """A frame of the driving clip, its largest face, and the image made of it; None without a face."""

    frame: video.Frame
    face: Face | None
    image: Image | None


def swap_clip(
    generator: Generator, identity: Identity, source: Path, output: Path, method: str
) -> Count:
    """Blends the identity into the largest face of a picture, or of each frame of a clip.

    Args:
        generator: of placement "blended".
        identity: as its `identity` gave it.
        source: picture or clip.
        output: picture, or clip with the source's frame rate and sound; see `check_output`.
        method: of blending, see `faces.blend.blend`.

    Raises:
        InputError: no frame shows a face. Nothing is written then.
    """

    def finish(generated: Iterable[Generated]) -> Iterator[video.Frame]:
        return blended_frames(generated, generator.alignment, generator.resolution, method)

    return _convert(generator, identity, source, output, finish, "left unchanged")


def reenact_clip(generator: Generator, identity: Identity, driving: Path, output: Path) -> Count:
    """Shows the identity in the generator's own images, with the performance of a picture or clip.

    Args:
        generator: of placement "whole".
        identity: as its `identity` gave it.
        driving: picture or clip.
        output: picture, or clip with the driving clip's frame rate and sound; see `check_output`.

    Raises:
        InputError: no frame shows a face that the generator needs. Nothing is written then.
    """
    return _convert(generator, identity, driving, output, whole_frames, "repeat their neighbour")


def check_output(source: Path, output: Path) -> None:
    """Raises InputError unless the source can be read and its result written to `output`."""
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


def generate_frames(
    generator: Generator,
    identity: Identity,
    frames: Iterator[video.Frame],
    landmarker: Landmarker,
    count: Count,
    sound: Int16[np.ndarray, "n"] | None = None,
) -> Iterator[Generated]:
    """Each frame of a clip with the image that the generator makes of it.

    Args:
        generator: of any placement.
        identity: as its `identity` gave it.
        frames: of a clip or a picture, in order.
        landmarker: finds faces; not asked if the generator only hears.
        count: counts the frames that went through.
        sound: of the clip, if the generator hears.

    Raises:
        InputError: at the end, when no frame showed a face.
    """
    hears_only = set(generator.inputs) == {"sound"}
    while group := list(itertools.islice(frames, BATCH)):
        faces = [None if hears_only else _largest_face(landmarker, frame) for frame in group]
        # Generate from those frames that show what the generator needs.
        useful = [i for i, face in enumerate(faces) if hears_only or face is not None]
        useful_frames = [group[i] for i in useful]
        useful_faces = [faces[i] for i in useful]
        performance = Performance(useful_frames, useful_faces, sound)
        generated = generate(generator, identity, performance)
        images = dict(zip(useful, generated, strict=True))

        count.frames += len(group)
        count.without_face += len(group) - len(useful)
        for i, frame in enumerate(group):
            yield Generated(frame, faces[i], images.get(i))
    if count.frames == count.without_face:
        raise InputError(
            f"None of the {count.frames} frames shows a face; give another clip, or landmarks "
            "beside it."
        )


def blended_frames(
    generated: Iterable[Generated], alignment: str, resolution: int, method: str
) -> Iterator[video.Frame]:
    """The frames with the generated faces blended in; a frame without a face passes unchanged.

    Args:
        generated: frames with their faces and generated images.
        alignment: of the generated images.
        resolution: of the generated images.
        method: of blending, see `faces.blend.blend`.
    """
    side = None
    for frame, face, image in generated:
        if image is None:
            yield frame
            continue
        # The clip's first face decides, so that nothing changes from frame to frame.
        side = side or blend_side(face.landmarks, alignment, resolution)
        blended = put_face(frame.image, image, face.landmarks, alignment, side, method)
        yield replace(frame, image=blended)


def whole_frames(generated: Iterable[Generated]) -> Iterator[video.Frame]:
    """The generated images at the times of the driving frames.

    A frame without a face repeats the image before it; at the start, the first image that comes.
    """
    image = None
    early = []
    for frame, _, new in generated:
        if new is not None:
            image = new
        if image is None:
            # Without its own image, which would only fill the memory
            early.append(replace(frame, image=None))
            continue
        for waiting in early:
            yield replace(waiting, image=image)
        early.clear()
        yield replace(frame, image=image)


def put_face(
    image: Image,
    generated: Image,
    landmarks: Landmarks,
    alignment: str,
    side: int,
    method: str,
) -> Image:
    """Blends a generated, aligned crop into its frame.

    The blending works at `side` pixels, the resolution of the face in the frame: all that stays of the target keeps
    its sharpness, however coarse the generated face is.
    """
    # Everything in the crop's pixels
    transform = align.alignment_transform(landmarks, side, alignment)
    target = align.crop(image, transform, side)
    polygon = align.transform_points(align.face_polygon(landmarks), transform)
    blended = blend.blend(align.resize(generated, side), target, polygon, method)
    return blend.paste(image, target, blended, transform)


def blend_side(landmarks: Landmarks, alignment: str, resolution: int) -> int:
    """Side in pixels at which to blend: the crop's side in the frame, rounded up to a power of two.

    No less than the generator's resolution, and no more than LARGEST_BLEND.
    """
    transform = align.alignment_transform(landmarks, resolution, alignment)
    in_frame = resolution / align.transform_scale(transform)
    side = 2 ** np.ceil(np.log2(in_frame))
    # A generator larger than the limit blends at the limit.
    return int(np.clip(side, resolution, LARGEST_BLEND))


def _largest_face(landmarker: Landmarker, frame: video.Frame) -> Face | None:
    faces = landmarker(frame.image, frame.index)
    return faces[0] if faces else None


def _convert(
    generator: Generator,
    identity: Identity,
    source: Path,
    output: Path,
    finish: Callable[[Iterable[Generated]], Iterator[video.Frame]],
    without_face: str,
) -> Count:
    """Generates, finishes and writes the frames of a picture or clip; says at the end what was done.

    Args:
        generator: makes the images.
        identity: as its `identity` gave it.
        source: picture or clip.
        output: what to write.
        finish: from generated images to the frames that are written.
        without_face: what becomes of frames without a face, for people.
    """
    console = Console(stderr=True)
    count = Count()
    sound = audio.read_audio(source) if "sound" in generator.inputs else None
    with contextlib.closing(open_landmarker(source)) as landmarker:
        frames = track(
            video.read_frames(source),
            source.name,
            video.probe(source).frames,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        generated = generate_frames(generator, identity, iter(frames), landmarker, count, sound)
        # Frames are read, generated and finished as they are written.
        _write(output, source, finish(generated), generator.placement)

    done = f"{output}: {count.frames} frames"
    if count.without_face:
        done += f", {count.without_face} without a face {without_face}"
    console.print(done, highlight=False, soft_wrap=True)
    return count


def _write(output: Path, source: Path, frames: Iterator[video.Frame], placement: str) -> None:
    """Writes one frame as a picture, or several as a clip with the source's sound."""
    if is_picture(source):
        (frame,) = frames
        write_picture(output, frame.image)
    else:
        write_video(output, source, frames, square_pixels=placement == "whole")
