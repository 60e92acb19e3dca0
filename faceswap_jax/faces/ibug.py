"""Names of the 68 facial landmarks in the iBUG order (Sagonas et al., 300 Faces in-the-Wild Challenge, 2013).

Right and left are the person's own, so the right eye is the left one in the image.

    0-16   jaw, from the right ear over the chin to the left ear
    17-21  right brow and 22-26 left brow, from left to right in the image
    27-30  bridge of the nose, downwards; 31-35 below the nose
    36-41  right eye and 42-47 left eye, clockwise in the image from the corner at its left
    48-59  outer lips and 60-67 inner lips, clockwise in the image from the right corner of the mouth
"""

import numpy as np

JAW = range(17)
RIGHT_BROW = range(17, 22)
LEFT_BROW = range(22, 27)
BROWS = range(17, 27)
NOSE = range(27, 36)
NOSE_TIP = 30
RIGHT_EYE = range(36, 42)
LEFT_EYE = range(42, 48)
MOUTH = range(48, 68)
MOUTH_CORNERS = (48, 54)
OUTER_LIPS = range(48, 60)
INNER_LIPS = range(60, 68)

MIRROR = np.array(
    [
        *range(16, -1, -1),  # jaw
        *range(26, 16, -1),  # brows
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),  # nose
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # outer lips
        *(64, 63, 62, 61, 60, 67, 66, 65),  # inner lips
    ]
)
"""Index of the landmark on the other side: mirrored[i] is where landmark MIRROR[i] was."""
