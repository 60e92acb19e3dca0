"""Renders one frame of a puppet: image, landmarks, face polygon and mask."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from data_pipelines.puppets.anatomy import Anatomy, build
from data_pipelines.puppets.camera import SUPERSAMPLING, Camera, Pose, Window
from data_pipelines.puppets.features import Canvas, paint_face
from data_pipelines.puppets.landmarks import head_points, landmarks
from data_pipelines.puppets.outfit import Glasses, paint_body, paint_hair
from data_pipelines.puppets.parameters import Performance, Persona, Scene, clip
from data_pipelines.puppets.shading import Colour, Light, Palette, background, encode
from data_pipelines.puppets.surface import Surface, View, planar, saturate
from faceswap_jax.errors import InputError
from faceswap_jax.faces.align import face_polygon, polygon_mask

MIN_SIZE, MAX_SIZE = 16, 1024
_HOLLOW = 0.8  # head units between the hair in front and what shows where it is open


@dataclasses.dataclass(frozen=True)
class Frame:
    """One rendered frame with its ground truth.

    Attributes:
        image: RGB.
        landmarks: x, y in pixels, iBUG order; pixel centres at whole numbers.
        visible: whether neither the head nor its hair hides the landmark.
        irises: centres (x, y) of the person's right and left iris in pixels, behind the lids or not.
        polygon: outline of the face in pixels.
        mask: 255 inside the polygon, else 0.
        persona: within its ranges, as the others.
        performance: what the puppet does.
        scene: where.
    """

    image: UInt8[np.ndarray, "s s 3"]
    landmarks: Float32[np.ndarray, "68 2"]
    visible: Bool[np.ndarray, "68"]
    irises: Float32[np.ndarray, "2 2"]
    polygon: Float32[np.ndarray, "n 2"]
    mask: UInt8[np.ndarray, "s s"]
    persona: Persona
    performance: Performance
    scene: Scene


def render(
    persona: Persona,
    performance: Performance,
    scene: Scene,
    size: int,
    dresser: Persona | None = None,
) -> Frame:
    """A square image of a persona, with its ground truth.

    Args:
        persona: who; parameters outside their ranges are clipped, as all.
        performance: what it does.
        scene: where.
        size: side of the image in pixels, 16 to 1024.
        dresser: whose shirt it wears; its own if None.

    Raises:
        InputError: another size, or a parameter that is not finite.
    """
    if int(size) != size or not MIN_SIZE <= size <= MAX_SIZE:
        raise InputError(
            f"The size of a puppet's image is {size}; give a whole number of pixels from {MIN_SIZE} to {MAX_SIZE}."
        )
    persona = clip(persona)
    performance = clip(performance)
    scene = clip(scene)
    camera = Camera(int(size), scene.camera_scale)
    anatomy = build(persona, performance)

    # Ground truth
    face = head_points(anatomy)
    points, visible = landmarks(anatomy, camera, face)
    irises = camera.project(anatomy.pose.to_world(anatomy.irises))
    polygon = face_polygon(points)
    inside = polygon_mask(polygon, camera.size, camera.size) >= 0.5

    return Frame(
        image=encode(_image(anatomy, face, camera, scene, Palette(persona, dresser or persona))),
        landmarks=points,
        visible=visible,
        irises=irises.astype(np.float32),
        polygon=polygon,
        mask=inside * np.uint8(255),
        persona=persona,
        performance=performance,
        scene=scene,
    )


def _image(
    anatomy: Anatomy,
    face: Float[np.ndarray, "68 3"],
    camera: Camera,
    scene: Scene,
    palette: Palette,
) -> Float32[np.ndarray, "s s 3"]:
    """Linear colours of the image."""
    layers = _Layers(background(scene, camera.size), camera)
    light = Light(scene, anatomy.pose.rotation)
    body_light = Light(scene, anatomy.body_pose.rotation)

    def body(window: Window, points: np.ndarray, normals: np.ndarray) -> tuple:
        albedo, gloss = paint_body(points, palette)
        return body_light.shade(albedo, normals, gloss), True

    def head(window: Window, points: np.ndarray, normals: np.ndarray) -> tuple:
        canvas = Canvas(anatomy, face, camera, window, points, normals, palette)
        paint_face(canvas)
        return light.shade(canvas.albedo, canvas.normals, canvas.gloss), True

    def hair(window: Window, points: np.ndarray, normals: np.ndarray) -> tuple:
        albedo, gloss, there = paint_hair(points, normals, anatomy, palette, camera)
        colours = light.shade(albedo, normals, gloss, wrap=(0.2, 0.2, 0.2))
        return colours, there

    layers.add(anatomy.body, anatomy.body_pose, body)
    layers.add(anatomy.head, anatomy.pose, head)
    inside_hair = palette.hair * planar(light.ambient) * 0.6
    layers.add(anatomy.hair, anatomy.pose, hair, hollow=inside_hair)
    glasses = Glasses(anatomy, camera, palette)
    glasses.paint(layers.colour, layers.depth)
    return layers.flatten()


class _Layers:
    """The sample grid: colour and depth of the nearest thing on every ray so far."""

    def __init__(self, backdrop: Float32[np.ndarray, "3 s s"], camera: Camera):
        self.camera = camera
        rows = backdrop.repeat(SUPERSAMPLING, axis=1)
        self.colour = rows.repeat(SUPERSAMPLING, axis=2)
        self.depth = np.full((camera.grid, camera.grid), np.inf, np.float32)

    def add(
        self,
        surface: Surface,
        pose: Pose,
        paint: Callable[[Window, np.ndarray, np.ndarray], tuple],
        hollow: Colour | None = None,
    ) -> None:
        """Casts a surface and lays what is nearest over the image.

        `paint(window, points, normals)`, both [3, h, w] in the body's frame, returns the colours [3, h, w] and which
        samples exist at all [h, w]. Where they do not and nothing else is near, the inside of a `hollow` surface shows.
        """
        view = View(surface, self.camera, pose)
        window = view.window()
        if window is None:
            return
        rows, columns = window.slices()
        behind = self.depth[rows, columns]
        colour = self.colour[:, rows, columns]
        depth = view.cast(window)
        nearer = depth < behind

        # Rays that miss get a depth, too: their points are computed and not used.
        safe = np.where(nearer, depth, np.float32(self.camera.distance))
        points = self.camera.points(pose, window, safe)
        normals = view.normals(window, points)
        painted, there = paint(window, points, normals)

        if hollow is not None:
            inside = ~there & (depth + _HOLLOW < behind)
            np.copyto(colour, hollow, where=inside)
        nearer &= there
        np.copyto(behind, depth, where=nearer)
        np.copyto(colour, painted, where=nearer)

    def flatten(self) -> Float32[np.ndarray, "s s 3"]:
        """Mean of the samples of every pixel."""
        fine = saturate(self.colour)
        n = SUPERSAMPLING
        total = 0.0
        for row, column in itertools.product(range(n), repeat=2):
            total += fine[:, row::n, column::n]
        image = np.moveaxis(total, 0, -1)
        return np.ascontiguousarray(image) * (1 / n**2)
