"""How well `faces.pose` finds the pose of puppets, and the mean head that puppets of today would give it.

    python -m experiments.benchmarks.pose [--puppets 24] [--shapes 96]

It takes half a minute. Expected: from rendered landmarks, mean absolute errors of yaw, pitch and roll
of 0.9, 1.6 and 0.3 degrees; from those of MediaPipe, which has its own idea of each puppet, 3.2, 5.3
and 1.3. The head half way is that of `_RIGHT` and `_MIDDLE` in `faces/pose.py` as long as nobody has
changed the puppets' faces.
"""

import numpy as np
from absl import app, flags
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from data_pipelines.puppets.anatomy import build
from data_pipelines.puppets.camera import Camera, Pose
from data_pipelines.puppets.landmarks import head_points
from data_pipelines.puppets.parameters import Performance, sample_persona
from data_pipelines.puppets.tracks import performance_track, render_frame
from faceswap_jax.faces import mediapipe, pose
from faceswap_jax.faces.ibug import MIRROR

PUPPETS = flags.DEFINE_integer("puppets", 24, "Seen by MediaPipe; a third more by their landmarks.")
SHAPES = flags.DEFINE_integer("shapes", 96, "Puppets whose heads are averaged.")

WORLD = 21
TEST_WORLD = 7
TRACKS = 8
SIZE = 256  # pixels
MOST_YAW = 30  # degrees
FLIP = np.array([1, -1, -1])  # from the puppets' axes to those of `faces.pose`: y down, z away
POINTS = pose._POINTS


def main(_) -> None:
    """Prints the head, then the errors."""
    rest = [normalised(head(p)) for p in range(SHAPES.value)]
    rendered = normalised(np.mean(rest, axis=0))
    heads, found, expected = see_with_mediapipe()
    seen = straight(heads)
    half_way = normalised((rendered + seen) / 2)
    print_heads(rendered, seen, half_way)
    report("from MediaPipe's landmarks", found, expected)
    report("from rendered landmarks", *see_with_landmarks())


def see_with_mediapipe() -> tuple[
    Float[np.ndarray, "m n 3"], Float[np.ndarray, "m 3"], Float[np.ndarray, "m 3"]
]:
    """Returns heads as MediaPipe sees them, turned straight, then poses found and true ones."""
    landmarker = mediapipe.MediaPipeLandmarker(0)
    network = mediapipe.shipped("face_landmark/face_landmark")
    heads = []
    found = []
    expected = []
    for p in range(PUPPETS.value):
        for track in range(TRACKS):
            frame = render_frame(WORLD, p, track, 0, SIZE)
            act = frame.performance
            faces = landmarker(frame.image, 0)
            if abs(act.yaw) > MOST_YAW or not faces:
                continue
            # From the head as it is turned to the head straight ahead, in the axes of `faces.pose`.
            turn = Pose.turn(act.pitch, act.yaw, act.roll) * np.outer(FLIP, FLIP)
            points = mesh(network, frame.image, faces[0].landmarks)[POINTS]
            heads.append(normalised(points @ turn))
            found.append(pose.head_pose(faces[0].landmarks))
            expected.append([act.yaw, act.pitch, act.roll])
    return np.array(heads), np.array(found), np.array(expected)


def see_with_landmarks() -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m 3"]]:
    """Returns poses found from rendered landmarks, and true ones."""
    found = []
    expected = []
    for p in range(PUPPETS.value * 4 // 3):
        for act in performance_track(TEST_WORLD, p, 0, 250)[::25]:
            anatomy = build(sample_persona(TEST_WORLD, p), act)
            points = anatomy.pose.to_world(head_points(anatomy))
            found.append(pose.head_pose(Camera(SIZE).project(points)))
            expected.append([act.yaw, act.pitch, act.roll])
    return np.array(found), np.array(expected)


def print_heads(*heads: Float[np.ndarray, "n 3"]) -> None:
    """Prints the points of heads, of the right side and the middle."""
    print("index: rendered, seen by MediaPipe, half way")
    for i, *points in zip(POINTS, *heads, strict=True):
        if i <= MIRROR[i]:
            # Adding zero turns -0 into 0.
            rounded = [tuple((point.round(3) + 0.0).tolist()) for point in points]
            print(f"{i}:", *rounded)


def report(name: str, found: Float[np.ndarray, "n 3"], expected: Float[np.ndarray, "n 3"]) -> None:
    """Prints errors where |yaw| is at most MOST_YAW, and degrees found per degree turned."""
    near = np.abs(expected[:, 0]) <= MOST_YAW
    found = found[near]
    expected = expected[near]
    gains = []
    for true_angles, found_angles in zip(expected.T, found.T, strict=True):
        slope, _ = np.polyfit(true_angles, found_angles, 1)
        gains.append(slope)
    errors = found - expected
    print(
        f"{name}, {len(errors)} faces: yaw, pitch, roll: mean absolute error "
        f"{np.abs(errors).mean(0).round(2)}, mean {errors.mean(0).round(2)}, "
        f"gain {np.round(gains, 2)}"
    )


def head(persona: int) -> Float[np.ndarray, "n 3"]:
    """Returns the rigid landmarks of a puppet at rest."""
    anatomy = build(sample_persona(WORLD, persona), Performance())
    return head_points(anatomy)[POINTS] * FLIP


def normalised(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Puts the origin amid the corners of the eyes and makes their distance one, symmetrically."""
    order = list(POINTS)
    mirror = [order.index(MIRROR[i]) for i in POINTS]
    points = (points + points[mirror] * [-1, 1, 1]) / 2
    right = points[[order.index(36), order.index(39)]].mean(0)
    left = points[[order.index(42), order.index(45)]].mean(0)
    return (points - (right + left) / 2) / np.linalg.norm(left - right)


def straight(heads: Float[np.ndarray, "m n 3"]) -> Float[np.ndarray, "n 3"]:
    """Returns the mean shape (generalised Procrustes analysis), turned as the heads are on average."""
    centred = heads - heads.mean(1, keepdims=True)
    mean = centred.mean(0)
    for _ in range(10):
        mean = np.mean([turned(points, mean) for points in centred], axis=0)
    return normalised(turned(mean, centred.mean(0)))


def turned(points: Float[np.ndarray, "n 3"], onto: Float[np.ndarray, "n 3"]) -> np.ndarray:
    """Turns points so that they lie closest to others."""
    rotation, _ = Rotation.align_vectors(onto, points)
    return rotation.apply(points)


def mesh(network: mediapipe.Network, image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns the 68 landmarks in space as the mesh network sees them, tilted as in the picture."""
    box = mediapipe.face_box(points)
    side = mediapipe.MESH_RESOLUTION
    to_frame = box.to_frame(side / mediapipe.FACE_MARGIN, side)
    picture = mediapipe.Pyramid(image).crop(to_frame, side)
    vertices, _ = network(picture / np.float32(255))

    # Each landmark is the mean of two vertices; the network saw the face upright.
    pairs = vertices.reshape(-1, 3)[mediapipe._VERTICES]
    upright = pairs.reshape(-1, 2, 3).mean(1)
    tilt = np.eye(3)
    tilt[:2, :2] = to_frame[:, :2] / np.hypot(*to_frame[:, 0])
    return upright @ tilt.T


if __name__ == "__main__":
    app.run(main)
