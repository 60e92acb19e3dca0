"""A clip through a generator: faces blended into its frames, or whole images of the generator's own."""

import hashlib
import itertools
import math
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int16

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, audio, blend, mouth, people, sequence, video
from faceswap_jax.faces.ahead import ahead, mapped
from faceswap_jax.faces.decoded import PLAIN
from faceswap_jax.faces.embedding import Embedding
from faceswap_jax.faces.encode import (
    OUTPUT_SUFFIXES,
    check_codec,
    own_pixels,
    write_made,
    write_video,
)
from faceswap_jax.faces.encoding import SRGB
from faceswap_jax.faces.face import Face, Image, Landmarks
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.numbered import (
    NumberedPictures,
    check_pattern,
    is_pattern,
    numbered_pictures,
    pattern_of,
)
from faceswap_jax.faces.picture import PICTURE_SUFFIXES, is_picture, write_picture
from faceswap_jax.faces.still import check_kept, read_still, write_still
from faceswap_jax.inference.audience import admitted, tell, watched
from faceswap_jax.inference.batching import BATCH, Lent, Performance, at_rest, generate, latents
from faceswap_jax.inference.generator import Edit, Generator, Identity
from faceswap_jax.inference.who import Source


@dataclass
class Count:
    """Frames of a clip that went through a generator."""

    frames: int = 0
    without_face: int = 0


class Coding(NamedTuple):
    """What is said of clips that these do not say themselves.

    Attributes:
        codec: of the result, see `faces.encode.write_video`.
        colorspace: of the source, see `faces.video.read_frames`.
    """

    codec: str | None = None
    colorspace: str | None = None


AS_TOLD = Coding()
"""All as the source says, and results as it is."""

FINISHED_AT_ONCE = 2
"""Frames that are blended, or written as pictures, by a thread each: for a large face that takes much memory."""

GENERATED_AHEAD = 2
"""Frames that are generated, besides those of a batch, before they are finished."""

RESTING = 24
"""Frames of a clip whose mean is its performer's face at rest."""

FINER = 1.25
"""Pixels of the blending for each of the frame's: with as many, interpolation would leave the finest old detail."""

Shift = Callable[
    [Sequence[video.Frame], Float32[np.ndarray, "n latent"]], Float32[np.ndarray, "n latent"]
]
"""From some frames and the latents of a face in them to what is added to these."""


class Replacement(NamedTuple):
    """Somebody in a clip, and who is shown instead.

    Attributes:
        person: the performer; None if the generator only hears.
        identity: who is shown, as the generator's `identity` gave it.
        shift: what is added to the latents, if the performance is edited.
        only_changes: whether the person's own face stays where the edit changes nothing.
        expression: that others lend to the person's faces.
    """

    person: people.Person | None
    identity: Identity
    shift: Shift | None = None
    only_changes: bool = False
    expression: Lent | None = None


class Generated(NamedTuple):
    """A frame of the driving clip, and what is made of its faces, by number of the replacement.

    Attributes:
        frame: as it was.
        images: of the generator; {} without a face.
        masks: how much of each pixel of an image is to be seen, 0..1; of those images that hide a part of theirs.
    """

    frame: video.Frame
    images: Mapping[int, Image]
    masks: Mapping[int, Float32[np.ndarray, "r r"]]


def find_people(clip: Path, colorspace: str | None = None) -> list[people.Person]:
    """The people of a picture or clip, see `people.find_people`; shows how far it is."""

    def progress(frames: Iterable[video.Frame]) -> Iterable[video.Frame]:
        return _watched(admitted(frames), clip, "faces")

    with closing(open_landmarker(clip)) as landmarker:
        return people.find_people(clip, landmarker, progress, colorspace)


def identity_of(picture: Path) -> Embedding:
    """The identity of the person who fills most of a picture or clip.

    Raises:
        InputError: it cannot be read, shows no face, or one that is too small to tell whose it is.
    """
    with closing(open_landmarker(picture)) as landmarker:
        return people.identity_of(picture, landmarker)


def swap_clip(
    generator: Generator,
    replacements: Sequence[Replacement],
    source: Path,
    output: Path,
    method: str,
    outline: str | None = None,
    coding: Coding = AS_TOLD,
) -> Count:
    """Blends identities into the faces of people of a picture or a clip.

    Args:
        generator: of placement "blended".
        replacements: who is shown instead of whom.
        source: picture or clip.
        output: picture, clip with the source's frame rate and sound, or numbered pictures; see `check_output`.
        method: of blending, see `faces.blend.blend`.
        outline: of the face, see `faces.align.face_polygon`; the generator's own if not given.
        coding: of clips.
    """
    outline = outline or generator.outline

    def finish(generated: Iterable[Generated]) -> Iterator[video.Frame]:
        return blended_frames(generated, replacements, generator, method, outline)

    choices = (method, outline)
    return _convert(
        generator, replacements, source, output, finish, choices, "left unchanged", coding
    )


def reenact_clip(
    generator: Generator,
    identity: Identity,
    driving: Path,
    output: Path,
    restores_mouth: bool = False,
    coding: Coding = AS_TOLD,
) -> Count:
    """Shows the identity in the generator's own images, with the performance of a picture or clip.

    Args:
        generator: of placement "whole".
        identity: as its `identity` gave it.
        driving: picture or clip; the person who fills most of it performs.
        output: picture, clip with the driving clip's frame rate and sound, or numbered pictures; see `check_output`.
        restores_mouth: whether an open mouth's inside is the performer's, see `faces.mouth`.
        coding: of clips.

    Raises:
        InputError: no frame shows a face that the generator needs, or it sees no mouth to restore. Nothing is written
            then.
    """
    hears_only = set(generator.inputs) == {"sound"}
    if hears_only and restores_mouth:
        raise InputError("This model only hears the performer; leave --restore_mouth out.")
    person = None if hears_only else find_people(driving, coding.colorspace)[0]
    shift = None
    if generator.relative:
        shift = partial(_from_rest, _rest_of(generator, person, driving, coding.colorspace))
    replacements = [Replacement(person, identity, shift)]

    def finish(generated: Iterable[Generated]) -> Iterator[video.Frame]:
        if restores_mouth:
            generated = mouths_restored(generated, person, generator.alignment)
        return whole_frames(generated)

    choices = (restores_mouth,)
    fate = "repeat their neighbour"
    return _convert(generator, replacements, driving, output, finish, choices, fate, coding)


def _rest_of(
    generator: Generator, person: people.Person, clip: Path, colorspace: str | None
) -> Float32[np.ndarray, "latent"]:
    """A person's latents at rest, by frames that are evenly spread over a clip."""
    numbers = list(person.faces)
    chosen = np.linspace(0, len(numbers) - 1, RESTING, dtype=int)
    wanted = {numbers[i] for i in chosen}
    frames = [
        frame for frame in video.read_frames(clip, colorspace=colorspace) if frame.index in wanted
    ]
    faces = [person.faces[frame.index] for frame in frames]
    return at_rest(generator, Performance(frames, faces))


def _from_rest(rest, frames, found):
    """A `Shift` that takes the latents at rest off."""
    return np.broadcast_to(-rest, found.shape)


def reenact_shifted(
    generator: Generator,
    identity: Identity,
    source: Source,
    shift: Float32[np.ndarray, "n latent"],
    rate: Fraction,
    output: Path,
    sound: Path | None = None,
    codec: str | None = None,
) -> Count:
    """Shows the identity as a face of its own, whose latents change over time.

    Args:
        generator: of placement "whole".
        identity: as its `identity` gave it.
        source: the frame and the face whose latents change.
        shift: what is added to them in each frame of the output.
        rate: frames per second.
        output: clip to write.
        sound: file whose sound goes along.
        codec: see `faces.encode.write_video`.
    """
    frame, face = source

    def frames() -> Iterator[video.Frame]:
        for start in range(0, len(shift), BATCH):
            part = shift[start : start + BATCH]
            performance = Performance([frame] * len(part), [face] * len(part))
            images = generate(generator, identity, performance, Edit(part))
            for number, image in enumerate(images, start):
                yield video.Frame(image, float(number / rate), number)

    made = watched(frames(), f"{output.name}: images", len(shift))
    with closing(ahead(made, BATCH)) as images:
        write_made(output, images, generator.resolution, rate, sound, codec)
    tell(f"{output}: {len(shift)} frames")
    return Count(len(shift))


def check_output(source: Path, output: Path, whole: bool = False, coding: Coding = AS_TOLD) -> None:
    """Raises InputError unless the source can be read and its result written to `output`.

    Args:
        source: picture or clip, also numbered pictures.
        output: picture, clip, or numbered pictures, see `faces.numbered.pattern_of`.
        whole: whether the result shows images of the generator's own, and nothing of the source.
        coding: of clips.
    """
    video.probe(source)
    video.check_colorspace(source, coding.colorspace)
    check_codec(output, coding.codec)
    if is_picture(source):
        if is_pattern(output):
            raise InputError(
                f"'{output}' names numbered pictures, and {source} is one picture; choose a plain name."
            )
        check_file(output, sorted(PICTURE_SUFFIXES))
        if not whole:
            check_kept(source, output)
    else:
        if sequence.is_sequence(source):
            sequence.check(source)
        pattern = pattern_of(source, output)
        if pattern is None and output.suffix.lower() in PICTURE_SUFFIXES:
            raise InputError(
                f"'{output}' is one picture, and {source} a clip; choose a name that ends in "
                f"{', '.join(OUTPUT_SUFFIXES)}, or of numbered pictures, such as out.%04d.png."
            )
        if pattern is None:
            check_file(output, OUTPUT_SUFFIXES)
        else:
            check_folder(output if output.is_dir() else output.absolute().parent)
            check_pattern(source, output, changes=not whole)
    if output.is_file() and source.is_file() and output.samefile(source):
        raise InputError(f"'{output}' is the input itself; choose another name for --output.")


def check_file(output: Path, suffixes: Sequence[str]) -> None:
    """Raises InputError unless a file of such a suffix can be written."""
    if output.suffix.lower() not in suffixes:
        raise InputError(
            f"'{output}' cannot hold the result; choose a name that ends in {', '.join(suffixes)}."
        )
    if output.is_dir():
        raise InputError(f"'{output}' is a folder; choose another name for the output.")
    check_folder(output.absolute().parent)


def check_folder(folder: Path) -> None:
    """Raises InputError unless files can be written in a folder: before the work, not after it."""
    if not folder.is_dir():
        raise InputError(f"The folder '{folder}' does not exist; make it first.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder '{folder}' may not be written; name another.")


def generate_frames(
    generator: Generator,
    replacements: Sequence[Replacement],
    frames: Iterator[video.Frame],
    count: Count,
    sound: Int16[np.ndarray, "n"] | None = None,
) -> Iterator[Generated]:
    """Each frame of a clip with the images that the generator makes of it.

    Args:
        generator: of any placement.
        replacements: who is shown instead of whom.
        frames: of a clip or a picture, in order.
        count: counts the frames that went through.
        sound: of the clip, if the generator hears.
    """
    while group := list(itertools.islice(frames, BATCH)):
        images: list[dict[int, Image]] = [{} for _ in group]
        masks: list[dict[int, np.ndarray]] = [{} for _ in group]
        for number, replacement in enumerate(replacements):
            # Those frames that show what the generator needs
            useful = [i for i, frame in enumerate(group) if _acts(replacement, frame)]
            faces = [_face(replacement, group[i]) for i in useful]
            performance = Performance(
                [group[i] for i in useful], faces, sound, replacement.expression
            )
            edit = _edit(generator, replacement, performance)
            generated = generate(generator, replacement.identity, performance, edit)
            for i, image in zip(useful, generated, strict=True):
                images[i][number] = image
            if replacement.only_changes:
                plain = generate(generator, replacement.identity, performance)
                for i, *pair in zip(useful, generated, plain, strict=True):
                    masks[i][number] = blend.where_changed(*pair)

        count.frames += len(group)
        count.without_face += images.count({})
        yield from map(Generated, group, images, masks)
        # Lets these frames go before others are read
        group.clear()


def blended_frames(
    generated: Iterable[Generated],
    replacements: Sequence[Replacement],
    generator: Generator,
    method: str,
    outline: str,
) -> Iterator[video.Frame]:
    """The frames with the generated faces blended in; a frame without a face passes unchanged.

    Args:
        generated: frames and generated images.
        replacements: whose faces these are.
        generator: of the images.
        method: of blending, see `faces.blend.blend`.
        outline: of the face, see `faces.align.face_polygon`.
    """
    alignment = generator.alignment
    # One side for the whole clip, so that nothing changes from frame to frame
    sides = []
    for replacement in replacements:
        faces = [face.landmarks for face in replacement.person.faces.values()]
        sides.append(blend_side(faces, alignment, generator.resolution))

    def blended(made: Generated) -> video.Frame:
        frame, images, masks = made
        result = frame.image
        for number, image in images.items():
            landmarks = replacements[number].person.faces[frame.index].landmarks
            result = put_face(
                result,
                image,
                landmarks,
                alignment,
                sides[number],
                method,
                outline,
                masks.get(number),
            )
        return replace(frame, image=result)

    return mapped(blended, generated, FINISHED_AT_ONCE)


def whole_frames(generated: Iterable[Generated]) -> Iterator[video.Frame]:
    """The generated images at the times of the driving frames.

    A frame without a face repeats the image before it; at the start, the first image that comes.
    """
    image = None
    early = []
    for frame, images, _ in generated:
        image = images.get(0, image)
        if image is None:
            # Without its own image, which would only fill the memory
            early.append(replace(frame, image=None, own=None, decoded=None))
            continue
        for waiting in early:
            yield replace(waiting, image=image)
        early.clear()
        yield replace(frame, image=image)


def mouths_restored(
    generated: Iterable[Generated], person: people.Person, alignment: str
) -> Iterator[Generated]:
    """The same, with the inside of the performer's mouth in each image."""
    for frame, images, masks in generated:
        restored = {}
        for number, image in images.items():
            landmarks = person.faces[frame.index].landmarks
            restored[number] = mouth.restore(image, frame.image, landmarks, alignment)
        yield Generated(frame, restored, masks)


def put_face(
    image: Image,
    generated: Image,
    landmarks: Landmarks,
    alignment: str,
    side: int,
    method: str,
    outline: str,
    mask: Float32[np.ndarray, "r r"] | None = None,
) -> Image:
    """Blends a generated, aligned crop into its frame.

    The blending works at `side` pixels, the resolution of the face in the frame: all that stays of the target keeps
    its sharpness, however coarse the generated face is. With a mask of the generated crop, as much of the target is
    changed.
    """
    return Place(image, landmarks, alignment, side, outline).put(generated, method, mask)


class Place:
    """Where generated faces are put into a frame, see `put_face`; what does not depend on them is made once."""

    def __init__(
        self,
        image: Image,
        landmarks: Landmarks,
        alignment: str,
        side: int,
        outline: str,
    ) -> None:
        """See `put_face`."""
        self._image = image
        self._side = side
        # Everything in the crop's pixels
        self._transform = align.alignment_transform(landmarks, side, alignment)
        target = align.crop(image, self._transform, side)
        polygon = align.transform_points(align.face_polygon(landmarks, outline), self._transform)
        self._canvas = blend.Canvas(target, polygon)

    def put(
        self, generated: Image, method: str, mask: Float32[np.ndarray, "r r"] | None = None
    ) -> Image:
        """The frame with a generated face."""
        target = self._canvas.target
        blended = self._canvas.blend(align.resize(generated, self._side), method)
        if mask is not None:
            # Cubic interpolation overshoots.
            seen = align.resize(mask, self._side).clip(0, 1)[..., None]
            change = seen * (blended.astype(np.float32) - target)
            blended = np.rint(target + change).astype(np.uint8)
        return blend.paste(self._image, target, blended, self._transform)


def blend_side(faces: Iterable[Landmarks], alignment: str, resolution: int) -> int:
    """Side in pixels at which to blend: `FINER` than the largest face's crop in the frame, a multiple of 64.

    No less than the generator's resolution.

    Args:
        faces: landmarks of one person, in pixels of the frame.
        alignment: of the generator.
        resolution: of the generator.
    """
    scales = [
        align.transform_scale(align.alignment_transform(landmarks, resolution, alignment))
        for landmarks in faces
    ]
    in_frame = resolution / min(scales)
    side = 64 * math.ceil(FINER * in_frame / 64)
    return max(side, resolution)


def _acts(replacement: Replacement, frame: video.Frame) -> bool:
    """Whether a frame shows what the generator needs."""
    return replacement.person is None or frame.index in replacement.person.faces


def _edit(generator: Generator, replacement: Replacement, performance: Performance) -> Edit | None:
    """How a replacement's performance is changed."""
    if replacement.shift is None or not performance.frames:
        return None
    return Edit(replacement.shift(performance.frames, latents(generator, performance)))


def _face(replacement: Replacement, frame: video.Frame) -> Face | None:
    """The face that is replaced in a frame; None if the generator only hears."""
    return None if replacement.person is None else replacement.person.faces[frame.index]


def _convert(
    generator: Generator,
    replacements: Sequence[Replacement],
    source: Path,
    output: Path,
    finish: Callable[[Iterable[Generated]], Iterator[video.Frame]],
    choices: Sequence[object],
    without_face: str,
    coding: Coding,
) -> Count:
    """Generates, finishes and writes the frames of a picture or clip; says at the end what was done.

    Args:
        generator: makes the images.
        replacements: who is shown instead of whom.
        source: picture or clip.
        output: what to write.
        finish: from generated images to the frames that are written.
        choices: on which `finish` depends.
        without_face: what becomes of frames without a face, for people.
        coding: of clips.
    """
    is_whole = generator.placement == "whole"
    lost = [] if is_whole else _lost(source, output)
    if lost:
        tell(f"{output} will not have all that {source} has: it loses {', '.join(lost)}.")

    count = Count()
    sound = audio.read_audio(source) if "sound" in generator.inputs else None
    frames = iter(admitted(video.read_frames(source, colorspace=coding.colorspace)))

    # Frames are read and generated by threads while others are finished and written.
    def finished(frames: Iterator[video.Frame]) -> Iterator[video.Frame]:
        with closing(ahead(frames, BATCH)) as read:
            made = generate_frames(generator, replacements, read, count, sound)
            with closing(ahead(made, GENERATED_AHEAD)) as generated:
                yield from _watched(finish(generated), source, "images")

    kept = 0
    if is_picture(source):
        (frame,) = finished(frames)
        if is_whole:
            write_picture(output, frame.image)
        else:
            still = read_still(source)
            write_still(output, still.changed(own_pixels(frame, still.pixel_aspect)))
    elif pattern_of(source, output):
        job = _job(generator, replacements, source, (choices, coding.colorspace))
        with numbered_pictures(output, source, job, changes=not is_whole) as pictures:
            if not is_whole:
                frames, there = _without_finished(frames, pictures)
            with (
                closing(finished(frames)) as made,
                closing(mapped(pictures.write, made, FINISHED_AT_ONCE)) as writing,
            ):
                for _ in writing:
                    pass
            kept = 0 if is_whole else len(there)
    else:
        with closing(finished(frames)) as made:
            write_video(output, source, made, whole=is_whole, codec=coding.codec)

    done = f"{output}: {count.frames} frames"
    if kept:
        done += f", {kept} more were finished before"
    if count.without_face:
        done += f", {count.without_face} without the face {without_face}"
    tell(done)
    return count


def _lost(source: Path, output: Path) -> list[str]:
    """What a clip or numbered pictures have that a result of the other kind has not, in words."""
    if is_picture(source):
        return []
    becomes_pictures = pattern_of(source, output) is not None
    if sequence.is_sequence(source):
        if becomes_pictures:
            return []
        first, *_ = sequence.open_sequence(source).pictures.values()
        still = read_still(first)
        deep, transparent = still.bits != 8, still.alpha is not None
    else:
        info = video.probe(source)
        deep = becomes_pictures and not (info.layout == PLAIN and info.encoding is SRGB)
        transparent = info.transparent
    kinds = {
        "its depth beyond 8 bits, HDR and wider colours": deep,
        "its transparency": transparent,
    }
    return [kind for kind, is_lost in kinds.items() if is_lost]


def _without_finished(
    frames: Iterator[video.Frame], pictures: NumberedPictures
) -> tuple[Iterator[video.Frame], list[int]]:
    """The frames that are still to be made, and the numbers of the others as they are passed."""
    passed = []

    def todo() -> Iterator[video.Frame]:
        for frame in frames:
            if pictures.is_finished(frame.index):
                passed.append(frame.index)
            else:
                yield frame

    return todo(), passed


def _job(
    generator: Generator,
    replacements: Sequence[Replacement],
    source: Path,
    choices: Sequence[object],
) -> str:
    """Names all that decides what the frames of a result will be."""
    stats = [file.stat() for file in sequence.files_of(source)]
    stamps = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    everything = (
        generator.version,
        [tuple(replacement) for replacement in replacements],
        stamps,
        choices,
    )
    return hashlib.sha256(pickle.dumps(everything)).hexdigest()


def _watched(frames: Iterable[video.Frame], clip: Path, what: str) -> Iterable[video.Frame]:
    """The frames of a clip; the audience sees how far it is."""
    return watched(frames, f"{clip.name}: {what}", video.probe(clip).frames)
