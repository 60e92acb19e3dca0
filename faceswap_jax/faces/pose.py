"""The head's pose from 68 landmarks of one image.

A rigid mean head is brought to coincide with those landmarks that expressions hardly move: the jaw beside the ears, the
bridge of the nose and the corners of the eyes. Brows, lids, lips, chin and the wings of the nose are left out. One head
stands for all, so that somebody's whole clip may be a constant few degrees off, in pitch above all.
"""

import math

import cv2
import numpy as np
from jaxtyping import Float, Float32

from faceswap_jax.faces.face import Landmarks
from faceswap_jax.faces.ibug import MIRROR

# Half way between where puppets have these landmarks (mean of 96) and where the face mesh network of MediaPipe sees
# them in space (mean of 24 puppets in eight performances each, by generalised Procrustes analysis): it sees a deeper
# head, and either alone turns the other's faces by a tenth too much or too little. Made symmetric. Origin amid the
# corners of the eyes, x to the image's right, y down, z away from the camera, unit one interocular distance. It looks
# straight ahead where, on average, puppets do. experiments/benchmarks/pose.py makes it.
_RIGHT = {
    0: (-1.035, -0.002, 0.703),
    1: (-1.031, 0.235, 0.736),
    2: (-1.006, 0.545, 0.719),
    36: (-0.723, -0.014, 0.068),
    39: (-0.277, 0.014, -0.068),
}
_MIDDLE = {
    27: (0.0, 0.028, -0.297),
    28: (0.0, 0.233, -0.439),
    29: (0.0, 0.43, -0.479),
    30: (0.0, 0.64, -0.621),
}
_LEFT = {int(MIRROR[i]): (-x, y, z) for i, (x, y, z) in _RIGHT.items()}
_ALL = _RIGHT | _LEFT | _MIDDLE
_POINTS = np.array(list(_ALL))
_HEAD = np.array(list(_ALL.values()))
_HEAD -= _HEAD.mean(0)

_DISTANCE = 17.0
"""From the camera, interocular distances; about 1.1 m. Twice as much or as little changes angles by a degree or two."""


def head_pose(landmarks: Landmarks) -> Float32[np.ndarray, "3"]:
    """Yaw, pitch and roll of a head in degrees, as the camera that looks straight at it sees them.

    As in the puppets' parameters: positive yaw turns the face to the right of the image, positive pitch up, positive
    roll clockwise; the head nods first, then turns, then tilts. Where and how large the face is in the image plays
    no role. Fitted by SQPnP (Terzakis and Lourakis 2020).

    Args:
        landmarks: (x, y) in any pixels, in the iBUG order.

    Raises:
        ValueError: the landmarks lie at one point or are not finite.
    """
    points = landmarks[_POINTS].astype(np.float64)
    if not np.isfinite(points).all() or not np.ptp(points, axis=0).any():
        raise ValueError("The landmarks define no head pose.")
    points -= points.mean(0)
    points /= _spread(points)

    # A camera for which the head has this size at its distance.
    focal = _DISTANCE / _spread(_HEAD[:, :2])
    camera = np.diag([focal, focal, 1.0])
    _, rotation, _ = cv2.solvePnP(_HEAD, points, camera, None, flags=cv2.SOLVEPNP_SQPNP)

    turn, _ = cv2.Rodrigues(rotation)
    x, y, z = turn[2]
    yaw = np.arcsin(np.clip(x, -1, 1))
    pitch = np.arctan2(-y, z)
    roll = np.arctan2(turn[1, 0], turn[0, 0])
    return np.rad2deg([yaw, pitch, roll]).astype(np.float32)


def _spread(points: Float[np.ndarray, "n 2"]) -> float:
    """Root mean square distance from the origin."""
    squares = np.square(points).sum(1)
    return math.sqrt(squares.mean())
