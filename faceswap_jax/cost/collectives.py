"""What devices exchange, read from an optimized program."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from faceswap_jax.cost.hlo import Array, Computation, Instruction

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")

SUMMED_AND_SLICED = "all-reduce-scatter"
"""How TPU's compiler names the fusion of a sum and of each device's slice of it."""

Groups = Int[np.ndarray, "groups devices"]
"""Numbers of the devices that exchange data, in the order of the mesh."""


@dataclass(frozen=True)
class Collective:
    """One act by which devices exchange data, of several tensors maybe.

    Attributes:
        kind: one of KINDS.
        axes: of the mesh, along which the data go, e.g. ("data",).
        devices: how many exchange data with each other.
        shapes: of its result on one device, as HLO writes them, e.g. ["f32[3,3,8,8]", "f32[8]"].
        size: bytes of its result on one device; of a reduce-scatter it is what is left, of an all-gather the whole.
    """

    kind: str
    axes: tuple[str, ...]
    devices: int
    shapes: tuple[str, ...]
    size: int

    @property
    def sent(self) -> float:
        """Bytes that each device has to send at least, whatever the way."""
        others = self.devices - 1
        fractions = {
            "all-reduce": 2 * others / self.devices,
            "all-gather": others / self.devices,
            "reduce-scatter": others,
            "all-to-all": others / self.devices,
            "collective-permute": 1,
        }
        return fractions[self.kind] * self.size


def collectives(program: Iterable[Computation], mesh: Mesh) -> list[Collective]:
    """Finds the collectives of a program for the devices of `mesh`.

    Each counts once: one that is started and awaited where it is awaited, for there its type is that of its result
    alone; one of which TPU's compiler does pieces beside other work in the first of them. Groups of one device exchange
    nothing and do not count.
    """
    found = []
    started = {}
    pieces = set()
    for computation in program:
        for instruction in computation.instructions:
            opcode = instruction.opcode
            if opcode.endswith("-start"):
                started[instruction.name] = instruction
            kind = opcode.removesuffix("-done")
            piece = _piece(instruction)
            if kind not in KINDS or piece in pieces:
                continue
            if piece:
                pieces.add(piece)

            # Only the start tells who takes part.
            told = instruction if kind == opcode else started[instruction.operands[0]]
            groups = _groups(told, mesh)
            if groups.shape[1] > 1:
                found.append(_collective(kind, computation, instruction, groups, mesh))
    return found


def _collective(
    kind: str, computation: Computation, instruction: Instruction, groups: Groups, mesh: Mesh
) -> Collective:
    result: tuple[Array, ...] = instruction.result
    if computation.name.startswith(SUMMED_AND_SLICED):
        kind, result = "reduce-scatter", computation.result
    return Collective(
        kind,
        _axes(groups, mesh),
        groups.shape[1],
        tuple(map(str, result)),
        sum(array.size for array in result),
    )


def _piece(instruction: Instruction) -> tuple[str, ...]:
    """What all pieces of one collective have in common, if this is one."""
    if "chain_id=" not in instruction.rest:
        return ()
    return tuple(re.findall(r'(?:chain_id="|channel_id=)(\d+)', instruction.rest))


def _axes(groups: Groups, mesh: Mesh) -> tuple[str, ...]:
    """The axes of the mesh along which the devices of a group lie."""
    places = np.unravel_index(groups, mesh.devices.shape)
    varied = [(place != place[:, :1]).any() for place in places]
    return tuple(name for name, vary in zip(mesh.axis_names, varied, strict=True) if vary)


def _groups(instruction: Instruction, mesh: Mesh) -> Groups:
    """Who exchanges data with whom; all with all if nothing is told.

    There are three ways to say it: each device by its number; an array of all numbers in order, reshaped and
    transposed; such an array with named axes, along some of which the groups lie.
    """
    text = instruction.rest
    listed = re.search(r"(?:replica_groups|source_target_pairs)=\{(\{[\d,{}]*\})\}", text)
    if listed:
        rows = re.findall(r"\{([\d,]+)\}", listed[1])
        return np.array([[int(n) for n in row.split(",")] for row in rows])

    reshaped = re.search(r"replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", text)
    if reshaped:
        return _numbered(reshaped[2]).reshape(_numbers(reshaped[1]))

    named = re.search(
        r"replica_groups=mesh\[(.*?)\](?:, device_ids=\((\[.*?\](?:T\([\d,]+\))?)\))? \{(.*?)\}",
        text,
    )
    if named:
        return _along(*named.groups())
    return np.arange(mesh.size)[None]


def _along(axes: str, order: str | None, along: str) -> Groups:
    """Groups along some axes of a mesh with named axes, e.g. "'a'=2,'b'=4", "[4,2]T(1,0)" and "'b'"."""
    sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", axes)}
    numbers = _numbered(order) if order else np.arange(np.prod(list(sizes.values())))
    numbers = numbers.reshape(list(sizes.values()))
    chosen = re.findall(r"'(\w+)'", along)
    last = [list(sizes).index(name) for name in chosen]
    moved = np.moveaxis(numbers, last, range(-len(last), 0))
    return moved.reshape(-1, np.prod([sizes[name] for name in chosen]))


def _numbered(text: str) -> Int[np.ndarray, "..."]:
    """Numbers in order as an array, e.g. "[4,2]T(1,0)"."""
    shape, _, axes = text.partition("T")
    numbers = np.arange(np.prod(_numbers(shape))).reshape(_numbers(shape))
    return numbers.transpose(_numbers(axes)) if axes else numbers


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
