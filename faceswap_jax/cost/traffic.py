"""What a program moves between a chip's cores and its memory, read from its text.

XLA's own count of bytes has those of the cores' fast memory in it: of a step that fits there altogether it says a
hundred times too much.
"""

import re
from collections.abc import Iterable, Sequence

from faceswap_jax.cost.hlo import Array, Computation, Instruction

NOTHING = {"after-all", "bitcast", "constant", "get-tuple-element", "parameter", "tuple"}
"""Opcodes that move nothing."""

SLICES = {"slice", "dynamic-slice"}
"""Opcodes that read as much as they write."""


def traffic(program: Iterable[Computation]) -> int:
    """Bytes that a step reads from the memory of a chip and writes to it, tiles filled up.

    Every operation reads its operands once and writes its result, as far as they lie there. An operand counts whole,
    though part of it may suffice, but of slices only the slice. What is exchanged beside another operation goes through
    it, and does not count there. A loop's body counts once, as part of the operation that it is.
    """
    program = list(program)
    (entry,) = [computation for computation in program if computation.entry]
    passing = {computation.name: _passing(computation) for computation in program}
    results = {}
    total = 0
    for instruction in entry.instructions:
        results[instruction.name] = instruction.result
        opcode = instruction.opcode
        if opcode in NOTHING or opcode.endswith("-done"):
            continue
        read = [array for name in instruction.operands for array in results[name]]
        if opcode.endswith("-start") or opcode in SLICES:
            total += _copied(instruction, read)
            continue
        through = passing.get(_called(instruction), set())
        moved = [array for array in (*read, *instruction.result) if str(array) not in through]
        total += sum(array.held for array in moved if not array.fast)
    return total


def _copied(instruction: Instruction, read: Sequence[Array]) -> int:
    """Bytes that a copy, or a slice, which may only be started here, reads and writes."""
    # What is started has its operand and its result in its own result, and numbers of its state.
    sides = [array for array in instruction.result if array.shape]
    if instruction.opcode in SLICES:
        sides += read[:1]
    size = min(array.held for array in sides)
    return sum(size for array in sides if not array.fast)


def _called(instruction: Instruction) -> str:
    found = re.search(r"calls=%([^,\s]+)", instruction.rest)
    return found[1] if found else ""


def _passing(computation: Computation) -> set[str]:
    """Types of the arrays that are exchanged piece by piece beside the work of a computation."""
    if not computation.name.startswith("async_collective_fusion"):
        return set()
    gathered: list[Array] = []
    for instruction in computation.instructions:
        if "chain_id=" in instruction.rest:
            gathered += instruction.result
    return set(map(str, gathered))
