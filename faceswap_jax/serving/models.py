"""The models that are served, and their newer versions."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from faceswap_jax.inference.generator import Generator
from faceswap_jax.serving.pool import SIZES, Pool
from faceswap_jax.serving.refusal import UNKNOWN, Refusal

Told = Callable[[str, int], None]
"""Hears the name of a model and how many faces a batch has."""


class Model:
    """A version of a model, which ends when it is replaced and the last order has gone.

    Attributes:
        name: of all its versions.
        generator: what it is.
    """

    def __init__(self, name: str, generator: Generator, told: Told, together: int):
        self.name = name
        self.generator = generator
        self._told = told
        self._together = together
        self._pool = self._new_pool()
        self._orders = 0
        self._retired = False
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Compiles what it needs."""
        self._pool.warm_up()

    @contextmanager
    def order(self) -> Iterator[Pool]:
        """The pool for one order."""
        with self._lock:
            if self._retired and self._orders == 0:
                # Its turn has come after all others had gone, and the pool with them.
                self._pool = self._new_pool()
            self._orders += 1
            pool = self._pool
        try:
            yield pool
        finally:
            with self._lock:
                self._orders -= 1
                ends = self._retired and self._orders == 0
            if ends:
                pool.close()

    def retire(self) -> None:
        """Lets the last order end it."""
        with self._lock:
            self._retired = True
            ends = self._orders == 0
            pool = self._pool
        if ends:
            pool.close()

    def _new_pool(self) -> Pool:
        return Pool(self.generator, self._together, lambda count: self._told(self.name, count))


class Models:
    """The newest version of each model."""

    def __init__(self, generators: Mapping[str, Generator], told: Told, together: int = SIZES[-1]):
        """All of them.

        Args:
            generators: by name.
            told: hears of batches.
            together: see `Pool`.
        """
        self._together = together
        self._told = told
        self._models = {name: self._model(name, model) for name, model in generators.items()}

    def __iter__(self) -> Iterator[Model]:
        """In the order in which they were named."""
        return iter(list(self._models.values()))

    def __getitem__(self, name: str) -> Model:
        """The newest version of that name; raises Refusal if there is none."""
        if name not in self._models:
            known = ", ".join(self._models)
            raise Refusal(UNKNOWN, f"There is no model '{name[:100]}'; choose one of {known}.")
        return self._models[name]

    def replace(self, name: str, generator: Generator, compiles: bool = True) -> None:
        """Serves a new version from when it is ready. Orders that are on their way keep the old one.

        Args:
            name: of the model.
            generator: the new version.
            compiles: whether there is something to compile.
        """
        new = self._model(name, generator)
        if compiles:
            new.warm_up()
        old, self._models[name] = self._models[name], new
        old.retire()

    def warm_up(self) -> None:
        """Compiles what the models need."""
        for model in self:
            model.warm_up()

    def close(self) -> None:
        """Ends all; no order is on its way."""
        for model in self:
            model.retire()

    def _model(self, name: str, generator: Generator) -> Model:
        return Model(name, generator, self._told, self._together)
