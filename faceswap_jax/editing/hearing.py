"""What tells sounds apart: log-mel energies, or a network that learned which mouth makes which sound."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float

from faceswap_jax.faces import mel
from faceswap_jax.pretrained import listener

Windows = Float[np.ndarray, "n 3200"]
Features = Float[np.ndarray, "n k"]


@dataclass(frozen=True)
class Hearing:
    """Features of sounds; log-mel energies if nothing is said.

    Attributes:
        features: of windows of `mel.WINDOW` samples at 16 kHz in -1..1.
        run: folder of the network; "" without one.
        digest: of its weights; "" without one.
    """

    features: Callable[[Windows], Features] = mel.log_mel
    run: str = ""
    digest: str = ""

    @classmethod
    def of(cls, run: str | Path) -> Self:
        """That of a run of experiments/sync.py; log-mel energies if `run` is "".

        Raises:
            InputError: there is no such run, or it has no checkpoint yet.
        """
        if not run:
            return cls()
        network = listener.load(Path(run))
        return cls(network, str(Path(run).resolve()), network.digest)
