"""What edits of a performance do: vectors made, shown, and measured on puppets.

    python -m experiments.benchmarks.editing --workdir build/demo/run --clips build/demo/held_out [--picture edits.png]

Makes the vectors of TRAITS in the run's folder, from the expressions of 48 puppets that it has never seen. Then every
persona acts as each of the clips does, edited by weights from -1 to 1, and the oracle reads what the faces show:

    rises          Spearman's correlation of the trait with the weight, of the mean of all faces
    each           the same of each face, the mean; a closed mouth cannot close further
    by             how much the trait changes from weight -1 to 1, in % of its range, gaze in degrees
    others         the same of the other parameters of eyes, brows and mouth, mean without sign
    inside         squared change of pixels in the windows of the trait's parts, over that in the rest of the face
    kept           the same of what --only_changes leaves of it
    of truth       the same of rendered puppets that show the trait less and more, and of nothing else
    of network     the same where the network gets its parts' latents of these puppets
    identity       points of identities found that weights of -1 and 1 cost
    follows        correlation of the trait with the weights of keyframes, in clips of faces that do nothing else

All but the last are of faces that act; gaze is read of eyes that are open.

With --undivided another run, whose network has one encoder for the whole face, is measured beside it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import app, flags
from scipy.stats import spearmanr

from data_pipelines.puppets.dataset import PuppetClip, PuppetClips, write_records
from data_pipelines.puppets.parameters import (
    DEGREES,
    PERFORMANCE_SPANS,
    PERSONA_SPANS,
    Performance,
    sample_persona,
    sample_scene,
)
from data_pipelines.puppets.renderer import Frame, render
from data_pipelines.puppets.tracks import performance_track
from experiments.benchmarks.measuring import print_table, silence_orbax
from faceswap_jax.edit import edit
from faceswap_jax.editing import keyframes, keys
from faceswap_jax.editing.expressions import open_all
from faceswap_jax.editing.vectors import Vector
from faceswap_jax.evaluation.identity import distances, retrieved
from faceswap_jax.evaluation.oracle import Reading, load_oracle
from faceswap_jax.evaluation.puppet_world import FACE, OPEN_LIDS
from faceswap_jax.faces import align, video
from faceswap_jax.faces.blend import where_changed
from faceswap_jax.faces.encode import write_video
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.grid import draw_grid
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.inference.batching import Performance as Shot
from faceswap_jax.inference.batching import generate, latents
from faceswap_jax.inference.clip import blend_side, put_face
from faceswap_jax.inference.generator import Edit, Generator, Who
from faceswap_jax.inference.trained import load
from faceswap_jax.models.parts import PARTS
from faceswap_jax.vector import COLUMNS, shown, vector

WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of a run, for the vectors too.", required=True
)
CLIPS = flags.DEFINE_string("clips", None, "Folder of clips of its puppets.", required=True)
PICTURE = flags.DEFINE_string("picture", None, "Picture to write: a row for each vector.")
UNDIVIDED = flags.DEFINE_string("undivided", None, "Folder of a run with one encoder.")

# Puppets that vectors are found in
WORLD = 5
PUPPETS = range(48)
TRACKS = range(8)
FRAMES = 8
RATE = 2.0

WEIGHTS = np.linspace(-1, 1, 9, dtype=np.float32)
FACES = 6  # of each clip
OUTLINE = "forehead"
EYES = ("left_eye", "right_eye")


PLACE = ("yaw", "pitch", "roll", "translate_x", "translate_y")
"""Parameters of the head's place, which edits leave to the performer."""


class Trait(NamedTuple):
    """A trait, how its faces are found, and what the oracle should read of it.

    Attributes:
        query: of the faces that show it.
        against: of the others.
        parts: of the latents.
        parameters: of the performance, which rise with it.
    """

    query: str
    against: str
    parts: Sequence[str]
    parameters: Sequence[str]


# Corners of a mouth seem to rise when a head is lowered, irises to look aside when it is turned.
FRONT = "yaw>-30,yaw<30,pitch>-12,pitch<12"
OPEN_EYES = "lids>-1"

TRAITS = {
    "mouth_open": Trait("mouth_open>1", "mouth_open<-0.5", ("mouth",), ("mouth_open",)),
    "smile": Trait("mouth_corners>0.8", "mouth_corners<-0.8", ("mouth",), ("smile",)),
    "lids": Trait("lids>0.7", "lids<-0.7", EYES, ("lid_left", "lid_right")),
    "gaze_x": Trait(f"gaze_x>0.8,{OPEN_EYES}", f"gaze_x<-0.8,{OPEN_EYES}", EYES, ("gaze_x",)),
    "gaze_y": Trait(f"gaze_y<-0.8,{OPEN_EYES}", f"gaze_y>0.8,{OPEN_EYES}", EYES, ("gaze_y",)),
    "brows": Trait("brow_middle<-0.8", "brow_middle>0.8", EYES, ("brow_raise",)),
}


def main(_) -> None:
    """Makes the vectors, measures them, and prints the tables."""
    silence_orbax()
    clips = Path(CLIPS.value)
    puppets = PuppetClips.load(clips)
    records = Path(WORKDIR.value) / "keys"
    write_records(records, WORLD, PUPPETS, TRACKS, FRAMES, RATE, 64, processes=2)

    runs = {"parts": Path(WORKDIR.value)}
    if UNDIVIDED.value:
        runs["undivided"] = Path(UNDIVIDED.value)
    for name, workdir in runs.items():
        generator = load(workdir)
        vectors = {trait: make_vector(workdir, trait, records, generator) for trait in TRAITS}
        measured = Measured(generator, puppets, clips)
        rows = []
        for trait, made in vectors.items():
            followed = follows(workdir, trait, clips, measured)
            cells = [*measured.row(trait, made), *measured.ideal(trait), f"{followed:.2f}"]
            rows.append([trait, *cells])
        columns = ("vector", "rises", "each", "by", "others", "inside", "kept")
        columns += ("identity", "of truth", "of network", "follows")
        print_table(columns, rows, title=f"{name}: {workdir}", width=100)
    if PICTURE.value:
        draw(Path(WORKDIR.value), puppets, Path(PICTURE.value))


def make_vector(workdir: Path, trait: str, records: Path, generator: Generator) -> Vector:
    """The vector of a trait, of its parts if the network has them."""
    wanted = TRAITS[trait]

    def find_sides():
        sources = open_all(records)
        return keys.from_data(sources, f"{wanted.query},{FRONT}", f"{wanted.against},{FRONT}")

    parts = [part for part in wanted.parts if part in generator.parts]
    return vector(workdir, trait, find_sides, parts)


class Measured:
    """What the faces of clips show, edited and not."""

    def __init__(self, generator: Generator, puppets: PuppetClips, clips: Path):
        self.puppets = puppets
        self.oracle = load_oracle()
        self._generator = generator
        self._shots = [shot_of(clips / clip.file) for clip in puppets.clips]

        # What identities are told apart by
        numbers = [clip.persona for clip in puppets.clips]
        personas = [sample_persona(puppets.world_seed, number) for number in numbers]
        self._names = [clip.name for clip in puppets.clips]
        self._identities = np.array([list(vars(persona).values()) for persona in personas])[:, FACE]
        self._errors = np.array([self.oracle.errors[name] for name in PERSONA_SPANS])[FACE]

    def row(self, trait: str, made: Vector) -> list[str]:
        """The cells of a vector."""
        read = []
        found = []
        inside = []
        kept = []
        for shot in self._shots:
            for persona in self._generator.personas:
                images = self._edited(persona, shot, made)
                readings = [self._read(shot, of_weight) for of_weight in images]
                read.append([reading.performance for reading in readings])
                found.append([self._found(persona, reading) for reading in readings])
                inside.append(self._change(shot, images, TRAITS[trait].parts))
                kept.append(self._change(shot, images, TRAITS[trait].parts, only_changes=True))

        # [faces, weights, parameters]
        values = np.concatenate(read, axis=1).swapaxes(0, 1) * scales()
        own = [list(PERFORMANCE_SPANS).index(name) for name in TRAITS[trait].parameters]
        others = [
            i for i, name in enumerate(PERFORMANCE_SPANS) if name not in PLACE and i not in own
        ]
        if trait.startswith("gaze"):
            values = values[open_eyes(values[:, len(WEIGHTS) // 2])]
        told = values[..., own].mean(-1)
        rises = [spearmanr(WEIGHTS, face).statistic for face in told]
        change = values[:, -1] - values[:, 0]
        identities = 100 * np.mean(found, axis=(0, 2))
        middle = len(WEIGHTS) // 2
        cost = identities[middle] - (identities[0] + identities[-1]) / 2
        return [
            f"{spearmanr(WEIGHTS, told.mean(0)).statistic:.2f}",
            f"{np.nanmean(rises):.2f}",
            f"{change[:, own].mean():.1f}",
            f"{np.abs(change[:, others].mean(0)).mean():.1f}",
            ratio(inside),
            ratio(kept),
            f"{cost:.1f}",
        ]

    def ideal(self, trait: str) -> list[str]:
        """How much of the change is inside where puppets show a trait less and more: their own, and the network's."""
        of_truth = []
        of_network = []
        wanted = TRAITS[trait]
        for clip, shot in zip(self.puppets.clips, self._shots, strict=True):
            shots = [self._acted(clip, shot, wanted, end) for end in (0.0, None, 1.0)]
            crops = [self._crops(acted) for acted in shots]
            of_truth.append(self._change(shot, crops, wanted.parts))

            z = [latents(self._generator, acted) for acted in shots]
            kept = np.ones(z[0].shape[1], bool)
            for part in wanted.parts:
                kept[self._generator.parts.get(part, slice(None))] = False
            shifts = [np.where(kept, 0, each - z[1]) for each in z]
            for persona in self._generator.personas:
                identity = self._generator.identity(Who({persona: 1.0}))
                images = [
                    generate(self._generator, identity, shot, Edit(shift)) for shift in shifts
                ]
                of_network.append(self._change(shot, images, wanted.parts))
        return [ratio(of_truth), ratio(of_network)]

    def _acted(self, clip: PuppetClip, shot: Shot, trait: Trait, end: float | None) -> Shot:
        """The clip's puppet with the trait near the low (0) or the high end (1) of its range; None: as it is."""
        world = self.puppets.world_seed
        persona = sample_persona(world, clip.persona)
        scene = sample_scene(world, clip.persona, clip.track)
        track = performance_track(world, clip.persona, clip.track, clip.frames, self.puppets.rate)
        change = {}
        if end is not None:
            change = {
                name: PERFORMANCE_SPANS[name].at(0.1 + 0.8 * end) for name in trait.parameters
            }
        frames = []
        for frame in shot.frames:
            performance = replace(track[frame.index], **change)
            image = render(persona, performance, scene, self.puppets.size).image
            frames.append(replace(frame, image=image))
        return Shot(frames, shot.faces)

    def _crops(self, shot: Shot) -> np.ndarray:
        """The faces as the network sees them."""
        side = self._generator.resolution
        crops = []
        for frame, face in zip(shot.frames, shot.faces, strict=True):
            transform = align.alignment_transform(face.landmarks, side, self._generator.alignment)
            crops.append(align.crop(frame.image, transform, side))
        return np.stack(crops)

    def _edited(self, persona: str, shot: Shot, made: Vector) -> list[np.ndarray]:
        """Images of a persona for each of `WEIGHTS`."""
        identity = self._generator.identity(Who({persona: 1.0}))
        z = latents(self._generator, shot)
        images = []
        for weight in WEIGHTS:
            possible = made.possible(z, np.full(len(z), weight))
            edit = Edit(np.float32(possible[:, None] * made.values))
            images.append(generate(self._generator, identity, shot, edit))
        return images

    def _read(self, shot: Shot, images: np.ndarray) -> Reading:
        """What the oracle reads of faces in their frames."""
        frames = []
        landmarks = np.stack([face.landmarks for face in shot.faces])
        alignment = self._generator.alignment
        side = blend_side(landmarks, alignment, self._generator.resolution)
        for frame, points, image in zip(shot.frames, landmarks, images, strict=True):
            frames.append(put_face(frame.image, image, points, alignment, side, "none", OUTLINE))
        return self.oracle(np.stack(frames), landmarks, masks_of(frames, landmarks))

    def read_clip(self, shown: Path, clip: Path) -> np.ndarray:
        """What the oracle reads of all frames, in the units of `scales`, where a clip has its faces."""
        landmarker = SidecarLandmarker(sidecar_path(clip))
        frames = [frame.image for frame in video.read_frames(shown)]
        landmarks = np.stack([landmarker(None, i)[0].landmarks for i in range(len(frames))])
        reading = self.oracle(np.stack(frames), landmarks, masks_of(frames, landmarks))
        return reading.performance * scales()

    def _found(self, persona: str, reading: Reading) -> np.ndarray:
        """1 for the faces whose nearest identity is the persona's."""
        distance = distances(reading.persona[:, FACE], self._identities, self._errors)
        return retrieved(distance, self._names.index(persona))

    def _change(
        self,
        shot: Shot,
        images: Sequence[np.ndarray],
        parts: Sequence[str],
        only_changes: bool = False,
    ) -> tuple[float, float]:
        """Squared change of pixels of the face from the middle to both ends: in the windows of parts, and elsewhere."""
        side = self._generator.resolution
        plain = images[len(images) // 2]
        within = 0.0
        outside = 0.0
        for i, face in enumerate(shot.faces):
            transform = align.alignment_transform(face.landmarks, side, self._generator.alignment)
            points = align.transform_points(face.landmarks, transform)
            polygon = align.transform_points(align.face_polygon(face.landmarks, OUTLINE), transform)
            mask = align.polygon_mask(polygon, side, side) > 0
            window = windows(points, side, parts)
            for end in (images[0][i], images[-1][i]):
                change = end.astype(float) - plain[i]
                if only_changes:
                    change *= where_changed(end, plain[i])[..., None]
                squares = np.square(change).sum(-1)
                within += squares[mask & window].sum()
                outside += squares[mask & ~window].sum()
        return within, outside


def ratio(changes: Sequence[tuple[float, float]]) -> str:
    """Of all that change inside, to all that change outside."""
    inside, outside = np.sum(changes, axis=0)
    return f"{inside / outside:.1f}" if outside else "all"


def shot_of(clip: Path) -> Shot:
    """Some frames of a puppet's clip, evenly over its time."""
    landmarker = SidecarLandmarker(sidecar_path(clip))
    frames = list(video.read_frames(clip))
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, FACES, dtype=int)]
    return Shot(chosen, [landmarker(None, frame.index)[0] for frame in chosen])


def masks_of(frames: Sequence[np.ndarray], landmarks: np.ndarray) -> np.ndarray:
    """The outline of each face in its frame, 0..1."""
    height, width, _ = frames[0].shape
    masks = []
    for points in landmarks:
        masks.append(align.polygon_mask(align.face_polygon(points, OUTLINE), height, width))
    return np.stack(masks)


def windows(points: np.ndarray, side: int, parts: Sequence[str]) -> np.ndarray:
    """Where parts see a crop, as models/parts.py cuts them."""
    y, x = np.mgrid[:side, :side]
    inside = np.zeros((side, side), bool)
    for name in parts:
        centre = points[list(PARTS[name].points)].mean(0)
        half = PARTS[name].width * side / 2
        inside |= (abs(x - centre[0]) <= half) & (abs(y - centre[1]) <= half)
    return inside


def scales() -> np.ndarray:
    """From parameters to degrees, or to percent of their range."""
    return np.array(
        [
            DEGREES[name] if name in DEGREES else 100 / (span.high - span.low)
            for name, span in PERFORMANCE_SPANS.items()
        ]
    )


def open_eyes(values: np.ndarray) -> np.ndarray:
    """Whether both eyes are open enough to show a gaze, from parameters in the units of `scales`."""
    lids = [list(PERFORMANCE_SPANS).index(name) for name in ("lid_left", "lid_right")]
    return values[:, lids].min(1) > 100 * OPEN_LIDS


def resting(puppets: PuppetClips, clip: PuppetClip) -> Frame:
    """A puppet that does nothing, in the scene of its clip."""
    persona = sample_persona(puppets.world_seed, clip.persona)
    scene = sample_scene(puppets.world_seed, clip.persona, clip.track)
    return render(persona, Performance(), scene, puppets.size)


def write_resting_clip(path: Path, source: Path, rest: Frame) -> None:
    """Writes a clip as long as another, in which a puppet does nothing."""
    frames = [replace(frame, image=rest.image) for frame in video.read_frames(source)]
    write_video(path, source, iter(frames), whole=True)
    write_landmarks(sidecar_path(path), dict.fromkeys(range(len(frames)), rest.landmarks))


def follows(workdir: Path, trait: str, clips: Path, measured: Measured) -> float:
    """Correlation of a trait with the weights of keyframes, in clips of resting faces: to 1, to -1 and back."""
    own = [list(PERFORMANCE_SPANS).index(name) for name in TRAITS[trait].parameters]
    shown = []
    weights = []
    for clip in measured.puppets.clips:
        source = workdir / "edited" / clip.file
        source.parent.mkdir(parents=True, exist_ok=True)
        if not source.exists():
            write_resting_clip(source, clips / clip.file, resting(measured.puppets, clip))

        last = clip.frames - 1
        peaks = {0: 0, last // 3: 1, 2 * last // 3: -1, last: 0}
        content = [{"frame": frame, "weight": weight} for frame, weight in peaks.items()]
        edits = [{"vector": trait, "interpolation": "smooth", "keys": content}]
        file = source.with_name(f"{clip.name}_{trait}.json")
        file.write_text(json.dumps({"version": keyframes.VERSION, "edits": edits}, indent=1))

        (curve,) = keyframes.read(file, source)
        edited = file.with_suffix(".mp4")
        edit(workdir, clip.name, source, edited, file, method="none", outline=OUTLINE)
        values = measured.read_clip(edited, source)[:, own].mean(1)
        # What is a puppet's own, such as the height of its brows, is no matter.
        shown.append(values - values.mean())
        weights += [curve(time) for time in video.frame_times(source)]
    return float(np.corrcoef(np.concatenate(shown), weights)[0, 1])


def draw(workdir: Path, puppets: PuppetClips, picture: Path) -> None:
    """What each vector does to a resting face, a row for each: the second puppet, without glasses."""
    generator = load(workdir)
    clip = puppets.clips[1]
    rest = resting(puppets, clip)
    still = Shot([video.Frame(rest.image, 0.0, 0)], [Face(rest.landmarks, 1.0)])
    rows = []
    for trait in TRAITS:
        made = Vector.load(workdir, trait)
        rows.append(shown(generator, made, clip.name, still, OUTLINE))
    write_picture(picture, draw_grid(np.array(rows), list(TRAITS), COLUMNS))


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
