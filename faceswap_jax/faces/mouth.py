"""The inside of a mouth, such as teeth, taken from one image into another by Poisson editing.

So X2Face restores what no source picture shows (Wiles, Koepke and Zisserman, ECCV 2018, Fig. 5a): the gradients are the
driver's, the colours around stay. The mouth is edited where the driver has it. Looking for it in the image itself was
no better on puppets: MediaPipe does not see smeared mouths well.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

from faceswap_jax.faces import align, blend
from faceswap_jax.faces.face import Image, Landmarks
from faceswap_jax.faces.ibug import INNER_LIPS

SIDE = 256
"""Pixels of the crop in which a mouth is edited, at least: those of RIM are many in a small image."""

RIM = blend.REACH + 3
"""Pixels at the border of a mask that the editing leaves as they are: `blend`'s, and three of OpenCV's."""

OPEN = (0.08, 0.2)
"""Height of an open mouth over its width: nothing is taken up to the first, all from the second on."""

GROWN = 0.2
"""By how much of the mouth's width the inner lips are grown, so that colours are matched on the lips: a tenth reddens
puppets' teeth, and three tenths bring in beards."""

_GAPS = (
    (61, 67),
    (62, 66),
    (63, 65),
)  # inner landmarks of upper and lower lip, one above the other


def restore(
    image: UInt8[np.ndarray, "r r 3"], driving: Image, landmarks: Landmarks, alignment: str
) -> UInt8[np.ndarray, "r r 3"]:
    """The image with the inside of the driver's mouth, as far as that is open; elsewhere it is as it was.

    Args:
        image: aligned, and doing what the driver does.
        driving: frame of the driver.
        landmarks: in this frame.
        alignment: of the image.
    """
    least, whole = OPEN
    weight = np.clip((openness(landmarks) - least) / (whole - least), 0, 1)
    if not weight:
        return image
    # As large as the editing needs
    side = max(SIDE, len(image))
    transform = align.alignment_transform(landmarks, side, alignment)
    crop = align.crop(driving, transform, side)
    target = align.resize(image, side)
    polygon = align.transform_points(landmarks[INNER_LIPS], transform)
    edited = blend.blend(crop, target, _grown(polygon), "poisson")

    # The change alone, so that the rest stays to the last bit
    change = cv2.subtract(edited, target, dtype=cv2.CV_32F)
    small = cv2.resize(change, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    return cv2.add(image, weight * small, dtype=cv2.CV_8U)


def openness(landmarks: Landmarks) -> float:
    """How high a mouth is open, over its width."""
    gaps = [np.linalg.norm(landmarks[a] - landmarks[b]) for a, b in _GAPS]
    return float(np.mean(gaps) / max(_width(landmarks[INNER_LIPS]), 1e-6))


def _grown(polygon: Landmarks) -> Landmarks:
    """The inner lips, each point moved away from their middle."""
    outward = polygon - polygon.mean(0)
    lengths = np.linalg.norm(outward, axis=1, keepdims=True)
    distance = GROWN * _width(polygon) + RIM
    return polygon + distance * outward / np.maximum(lengths, 1e-6)


def _width(inner_lips: Landmarks) -> float:
    right, left = inner_lips[0], inner_lips[4]
    return float(np.linalg.norm(right - left))
