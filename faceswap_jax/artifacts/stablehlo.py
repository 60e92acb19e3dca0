"""Programs as StableHLO, by jax.export: compiled anew wherever they run, on CPUs, NVIDIA GPUs and TPUs.

The weights are given to them, in the type in which they are stored. StableHLO is a dated build product, not an archive:
JAX reads what is up to six months older than itself, and up to three weeks newer.
"""

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jax import export
from jaxtyping import PyTree

from faceswap_jax.artifacts import archive
from faceswap_jax.artifacts.manifest import STABLEHLO
from faceswap_jax.artifacts.programs import Program, abstract
from faceswap_jax.errors import InputError
from faceswap_jax.ops.platforms import portable

PLATFORMS = ("cpu", "cuda", "tpu")
READ_FOR = datetime.timedelta(days=180)
READ_BEFORE = datetime.timedelta(days=21)


def write(folder: Path, programs: Mapping[str, Program], variables: PyTree) -> dict:
    """Writes a file for each program; returns what is to be known of them.

    Args:
        folder: to write into.
        programs: by name.
        variables: weights as they are stored.
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), variables)
    for name, program in programs.items():
        exported = _exported(program, shapes)
        (folder / f"{name}.{STABLEHLO}").write_bytes(exported.serialize())

    today = datetime.datetime.now(datetime.UTC).date()
    return {
        "platforms": list(PLATFORMS),
        "calling_convention": exported.calling_convention_version,
        "jax": jax.__version__,
        "made": str(today),
        "read_by_jax_from": str(today - READ_BEFORE),
        "read_by_jax_until": str(today + READ_FOR),
    }


def _exported(program: Program, variables: PyTree) -> export.Exported:
    def function(variables, arrays):
        return program.function(archive.restored(variables), arrays)

    with portable():
        return export.export(jax.jit(function), platforms=PLATFORMS)(variables, abstract(program))


def load(folder: Path, names: Sequence[str]) -> Callable[[str, Mapping], Mapping]:
    """What runs the programs: (name, arrays by name) -> arrays by name.

    Raises:
        InputError: this JAX cannot read them.
    """
    programs = {name: _read(folder / f"{name}.{STABLEHLO}") for name in names}
    compiled = {name: jax.jit(program.call) for name, program in programs.items()}
    like, _ = _arguments(programs[names[0]])
    variables = archive.read(folder, like)

    def run(name, arrays):
        _, wanted = _arguments(programs[name])
        given = {name: np.asarray(arrays[name], aval.dtype) for name, aval in wanted.items()}
        return jax.tree.map(np.asarray, compiled[name](variables, given))

    return run


def _arguments(program: export.Exported) -> tuple[PyTree, Mapping]:
    """Shapes and types of the variables, and of the arrays by name."""
    arguments, _ = jax.tree.unflatten(program.in_tree, program.in_avals)
    return arguments


def _read(path: Path) -> export.Exported:
    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:  # of many kinds, from several libraries
        raise InputError(
            f"{path} cannot be read by JAX {jax.__version__} ({error}); export the run again with it."
        ) from error
