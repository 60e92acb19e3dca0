"""A generic face at rest that looks straight ahead: what faces are fitted to."""

import numpy as np

from faceswap_jax.faces.ibug import MIRROR

# Where 96 puppets have their landmarks on average, made symmetric: a choice, no source names its generic face.
# `python -m experiments.benchmarks.alignment --face` prints it. The person's right side and the middle.
_RIGHT = {
    0: (-0.95, 0.014),
    1: (-0.948, 0.259),
    2: (-0.934, 0.516),
    3: (-0.875, 0.772),
    4: (-0.786, 1.032),
    5: (-0.643, 1.261),
    6: (-0.454, 1.435),
    7: (-0.271, 1.779),
    8: (0.0, 1.879),
    17: (-0.795, -0.292),
    18: (-0.664, -0.343),
    19: (-0.516, -0.367),
    20: (-0.366, -0.357),
    21: (-0.227, -0.319),
    27: (0.0, 0.039),
    28: (0.0, 0.248),
    29: (0.0, 0.466),
    30: (0.0, 0.69),
    31: (-0.185, 0.79),
    32: (-0.092, 0.835),
    33: (0.0, 0.866),
    36: (-0.722, -0.002),
    37: (-0.585, -0.09),
    38: (-0.415, -0.092),
    39: (-0.275, 0.018),
    40: (-0.42, 0.084),
    41: (-0.582, 0.083),
    48: (-0.434, 1.113),
    49: (-0.279, 1.062),
    50: (-0.123, 1.053),
    51: (0.0, 1.072),
    55: (0.279, 1.23),
    56: (0.131, 1.277),
    57: (0.0, 1.288),
    60: (-0.391, 1.121),
    61: (-0.123, 1.154),
    62: (0.0, 1.158),
    65: (0.123, 1.154),
    66: (0.0, 1.158),
}
_LEFT = {int(MIRROR[i]): (-x, y) for i, (x, y) in _RIGHT.items()}

NEUTRAL_FACE = np.array([point for _, point in sorted((_RIGHT | _LEFT).items())])
"""Landmarks (x, y) [68, 2]: the origin amid the eye centres, y down, unit one interocular distance."""
