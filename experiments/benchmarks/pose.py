"""How well `faces.pose` tells the pose of puppets, and the mean head that it would take from the puppets of today.

    python -m experiments.benchmarks.pose

It takes half a minute. Expected: from rendered landmarks, mean absolute errors of yaw, pitch and roll of 0.9, 1.6 and
0.3 degrees; from those of MediaPipe, which has its own idea of each puppet, 3.2, 5.3 and 1.3. The head half way is that
of `_RIGHT` and `_MIDDLE` in `faces/pose.py` as long as nobody has changed the puppets' faces.
"""

import itertools

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from data_pipelines.puppets.anatomy import build
from data_pipelines.puppets.camera import Camera, Pose
from data_pipelines.puppets.landmarks import head_points
from data_pipelines.puppets.parameters import Performance, sample_persona
from data_pipelines.puppets.tracks import performance_track, render_frame
from faceswap_jax.faces import mediapipe, pose
from faceswap_jax.faces.ibug import MIRROR

WORLD, TEST_WORLD, SIZE = 21, 7, 256
FLIP = np.array([1, -1, -1])  # from the puppets' axes to those of `faces.pose`: y down, z away
POINTS = pose._POINTS


def main() -> None:
    """Prints the head, then the errors."""
    landmarker = mediapipe.MediaPipeLandmarker(0)
    rendered = normalised(np.mean([normalised(head(WORLD, p)) for p in range(96)], axis=0))
    seen, found, expected = [], [], []
    for p, t in itertools.product(range(24), range(8)):
        frame = render_frame(WORLD, p, t, 0, SIZE)
        act = frame.performance
        faces = landmarker(frame.image, 0)
        if abs(act.yaw) <= 30 and faces:
            turned = Pose.turn(act.pitch, act.yaw, act.roll) * np.outer(FLIP, FLIP)
            seen.append(
                normalised(mesh(landmarker, frame.image, faces[0].landmarks)[POINTS] @ turned)
            )
            found.append(pose.head_pose(faces[0].landmarks))
            expected.append([act.yaw, act.pitch, act.roll])
    average = normalised((rendered + straight(np.array(seen))) / 2)
    print("index: rendered, seen by MediaPipe, half way")
    for i, *points in zip(POINTS, rendered, straight(np.array(seen)), average, strict=True):
        if i <= MIRROR[i]:
            print(f"{i}:", *(tuple((point.round(3) + 0.0).tolist()) for point in points))
    report("from MediaPipe's landmarks", np.array(found), np.array(expected))

    found, expected = [], []
    for p in range(32):
        for act in performance_track(TEST_WORLD, p, 0, 250)[::25]:
            anatomy = build(sample_persona(TEST_WORLD, p), act)
            found.append(
                pose.head_pose(Camera(SIZE).project(anatomy.pose.to_world(head_points(anatomy))))
            )
            expected.append([act.yaw, act.pitch, act.roll])
    report("from rendered landmarks", np.array(found), np.array(expected))


def report(name: str, found: Float[np.ndarray, "n 3"], expected: Float[np.ndarray, "n 3"]) -> None:
    """Errors where |yaw| is at most 30 degrees, and degrees found per degree turned."""
    near = np.abs(expected[:, 0]) <= 30
    found, expected = found[near], expected[near]
    gains = [np.polyfit(e, f, 1)[0] for e, f in zip(expected.T, found.T, strict=True)]
    errors = found - expected
    print(
        f"{name}, {len(errors)} faces: yaw, pitch, roll: mean absolute error {np.abs(errors).mean(0).round(2)}, "
        f"mean {errors.mean(0).round(2)}, gain {np.round(gains, 2)}"
    )


def head(world: int, persona: int) -> Float[np.ndarray, "n 3"]:
    """The rigid landmarks of a puppet at rest."""
    return head_points(build(sample_persona(world, persona), Performance()))[POINTS] * FLIP


def normalised(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Origin amid the corners of the eyes, unit one interocular distance; mirror images averaged."""
    mirror = [list(POINTS).index(MIRROR[i]) for i in POINTS]
    points = (points + points[mirror] * [-1, 1, 1]) / 2
    right, left = (
        points[[list(POINTS).index(i) for i in eye]].mean(0) for eye in ((36, 39), (42, 45))
    )
    return (points - (right + left) / 2) / np.linalg.norm(left - right)


def straight(heads: Float[np.ndarray, "m n 3"]) -> Float[np.ndarray, "n 3"]:
    """Mean shape of heads (generalised Procrustes analysis), turned as they are on average."""
    centred = heads - heads.mean(1, keepdims=True)
    mean = centred.mean(0)
    for _ in range(10):
        mean = np.mean(
            [Rotation.align_vectors(mean, points)[0].apply(points) for points in centred], axis=0
        )
    return normalised(Rotation.align_vectors(centred.mean(0), mean)[0].apply(mean))


def mesh(
    landmarker: mediapipe.MediaPipeLandmarker, image: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """The 68 landmarks in space as the mesh network sees them, in units of its input, as tilted as in the picture."""
    box = mediapipe._face_box(points)
    side = mediapipe.MESH_RESOLUTION
    to_frame = box.to_frame(side / mediapipe.FACE_MARGIN, side)
    picture = mediapipe._Pyramid(image).crop(to_frame, side)
    vertices, _ = landmarker._mesh(picture / np.float32(255))
    upright = vertices.reshape(-1, 3)[mediapipe._VERTICES].reshape(-1, 2, 3).mean(1)
    tilt = np.eye(3)
    tilt[:2, :2] = to_frame[:, :2] / np.hypot(*to_frame[:, 0])
    return upright @ tilt.T


if __name__ == "__main__":
    main()
