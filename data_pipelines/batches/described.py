"""Batches whose shapes and types are known before anything is read.

Grain asks the maps of a data set for them: `grain.experimental.get_element_spec`. So a training step can be compiled
without the data. Arrays that take no memory stand for those to come, and go through the same functions.
"""

from collections.abc import Callable, Sequence

import grain
import numpy as np
from jaxtyping import Shaped
from numpy.typing import DTypeLike


class Described(grain.transforms.Map):
    """A map of the elements of a data set that can also tell what it makes of them."""

    def __init__(self, function: Callable, describe: Callable):
        """Says what to do.

        Args:
            function: of an element.
            describe: from arrays like those of an element to arrays like those of the result.
        """
        self._function = function
        self._describe = describe

    def map(self, element):
        """What becomes of an element."""
        return self._function(element)

    def output_spec(self, input_spec):
        """Arrays of the shapes and types of what becomes of an element, given such of an element."""
        return self._describe(input_spec)


def stand_in(shape: Sequence[int], dtype: DTypeLike) -> Shaped[np.ndarray, "..."]:
    """An array of zeros that takes no memory, whatever its shape."""
    return np.broadcast_to(np.zeros((), dtype), shape)
