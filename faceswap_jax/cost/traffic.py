"""What a program moves between a chip's cores and its memory, read from its text.

XLA's own count of bytes has those of the cores' fast memory in it: of a step that fits there altogether it says a
hundred times too much.
"""

import re
from collections.abc import Iterable

from faceswap_jax.cost.hlo import Array, Computation, Instruction

NOTHING = {"after-all", "bitcast", "constant", "get-tuple-element", "parameter", "tuple"}
"""Opcodes that move nothing."""


def traffic(program: Iterable[Computation]) -> int:
    """Bytes that a step reads from the memory of a chip and writes to it, tiles filled up.

    Every operation reads its operands once and writes its result, as far as they lie there. An operand counts whole,
    though part of it may suffice. What is exchanged beside another operation goes through it, and does not count there.
    A loop's body counts once, as part of the operation that it is.
    """
    program = list(program)
    (entry,) = [computation for computation in program if computation.entry]
    passing = {computation.name: _passing(computation) for computation in program}
    results = {}
    total = 0
    for instruction in entry.instructions:
        results[instruction.name] = instruction.result
        if instruction.opcode in NOTHING or instruction.opcode.endswith("-done"):
            continue
        moved = list(instruction.result)
        # What is started has its operands in its result.
        if not instruction.opcode.endswith("-start"):
            for name in instruction.operands:
                moved += results[name]
        through = passing.get(_called(instruction), set())
        total += sum(array.held for array in moved if not array.fast and str(array) not in through)
    return total


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
