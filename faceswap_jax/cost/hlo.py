"""Optimized programs, read from their text: computations, instructions, shapes.

    %fused (p: f32[8,2]) -> f32[8,2] {
      ROOT %sum.1 = f32[8,2]{1,0:T(8,128)S(1)} add(%p, %p), metadata={...}
    }

Of a layout, T(8,128) says that memory holds whole tiles of 8 x 128 values, and S(1) that it is a core's fast memory.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMPUTATION = re.compile(r"^(ENTRY )?%(\S+) \(.*\) -> (.*) \{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%(\S+) = (.+?) ([a-z][a-z0-9-]*)\((.*)$")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")


@dataclass(frozen=True)
class Array:
    """An array as a program lays it out.

    Attributes:
        kind: type of its values, e.g. "bf16".
        shape: its dimensions.
        order: its dimensions from the fastest to the slowest in memory; () if it is not told.
        tile: of how many values along the fastest dimensions whole tiles are held, the slowest of them first.
        fast: whether it lies in a core's own memory.
    """

    kind: str
    shape: tuple[int, ...]
    order: tuple[int, ...] = ()
    tile: tuple[int, ...] = ()
    fast: bool = False

    def __str__(self) -> str:
        """Type and shape, e.g. "f32[8,2]"."""
        return f"{self.kind}[{','.join(map(str, self.shape))}]"

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self._bits // 8

    @property
    def held(self) -> int:
        """Bytes in memory, those that fill up tiles too."""
        lengths = [self.shape[i] for i in reversed(self.order)] or list(self.shape)
        missing = len(self.tile) - len(lengths)
        lengths = [1] * missing + lengths
        for i, multiple in enumerate(reversed(self.tile), 1):
            lengths[-i] = math.ceil(lengths[-i] / multiple) * multiple
        return math.prod(lengths) * self._bits // 8

    @property
    def _bits(self) -> int:
        if self.kind == "pred":
            return 8
        # The first number in the name of a type; tokens have none.
        found = re.search(r"\d+", self.kind)
        return int(found[0]) if found else 0


@dataclass(frozen=True)
class Instruction:
    """A line of a computation.

    Attributes:
        name: of its result.
        result: the arrays of its result.
        opcode: what it does, e.g. "fusion".
        operands: names of the instructions whose results it reads.
        rest: all that stands behind its operands.
    """

    name: str
    result: tuple[Array, ...]
    opcode: str
    operands: tuple[str, ...]
    rest: str


@dataclass(frozen=True)
class Computation:
    """A function of a program.

    Attributes:
        name: of it.
        entry: whether the program begins here.
        result: its arrays.
        instructions: in the order in which they are executed.
    """

    name: str
    entry: bool
    result: tuple[Array, ...]
    instructions: tuple[Instruction, ...]


def computations(text: str) -> Iterator[Computation]:
    """The computations of an optimized program, given as text (`jax.stages.Compiled.as_text`)."""
    lines = iter(text.splitlines())
    for line in lines:
        header = _COMPUTATION.match(line)
        if header:
            body = []
            for inner in lines:
                if inner.startswith("}"):
                    break
                body.append(inner)
            yield Computation(
                header[2],
                bool(header[1]),
                arrays(header[3]),
                tuple(filter(None, map(_instruction, body))),
            )


def arrays(text: str) -> tuple[Array, ...]:
    """The arrays of a type, which may be a tuple's."""
    return tuple(_array(*parts) for parts in _ARRAY.findall(text))


def _instruction(line: str) -> Instruction | None:
    found = _INSTRUCTION.match(line)
    if not found:
        return None
    name, result, opcode, rest = found.groups()
    operands, _, rest = rest.partition(")")
    return Instruction(
        name, arrays(result), opcode, tuple(re.findall(r"%(\S+?)(?=,|$)", operands)), rest
    )


def _array(kind: str, shape: str, order: str, layout: str) -> Array:
    tile = re.search(r"T\(([\d,]+)\)", layout)
    return Array(
        kind,
        _numbers(shape),
        _numbers(order),
        _numbers(tile[1]) if tile else (),
        "S(" in layout,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)
