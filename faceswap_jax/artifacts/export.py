"""The verb `export`: a run's generator as an artifact, which is served and archived."""

import datetime
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import jax
import ml_collections
import numpy as np
from jaxtyping import PyTree
from rich.console import Console

from faceswap_jax import config as configs
from faceswap_jax.artifacts import archive, onnx, parity, stablehlo
from faceswap_jax.artifacts.card import card, parity_table
from faceswap_jax.artifacts.manifest import (
    CARD,
    CONFIG,
    FORMATS,
    ONNX,
    PRECISIONS,
    SAFETENSORS,
    STABLEHLO,
    Artifact,
    digests_of,
    is_artifact,
)
from faceswap_jax.artifacts.programs import Program, programs
from faceswap_jax.artifacts.runtime import Run, run_of
from faceswap_jax.editing import control, vectors
from faceswap_jax.errors import InputError
from faceswap_jax.files import make_folder, new_folder
from faceswap_jax.inference import trained
from faceswap_jax.inference.described import WEIGHTS
from faceswap_jax.inference.trained import TrainedGenerator
from faceswap_jax.inference.who import who_is
from faceswap_jax.tasks.base import OWN


def export(
    workdir: Path,
    output: Path,
    step: int | None = None,
    formats: Sequence[str] = FORMATS,
    precision: str = "float32",
    persona: str | None = None,
) -> Artifact:
    """Writes the generator of a run as an artifact, once every format makes the checkpoint's images.

    Args:
        workdir: folder of a trained run.
        output: folder to write; not there yet.
        step: which checkpoint, by its number of steps; the newest one if not given.
        formats: of `FORMATS`; safetensors are always written.
        precision: of the stored weights, one of `PRECISIONS`.
        persona: a persona, or a mix as `who_is` takes it, whom alone the artifact knows; all of the run if not given.

    Raises:
        InputError: any of these cannot be used, or a format differs from the checkpoint. Nothing is written then.
    """
    _check(output, formats, precision)
    if is_artifact(workdir):
        raise InputError(f"'{workdir}' is an artifact already; give the run that it is of.")
    generator = trained.load(workdir, step)
    config = configs.load(workdir / CONFIG)
    if persona is not None:
        generator, config = _alone(generator, config, persona)
    _forget(config)

    arithmetic = config.get("precision", "float32")
    limit = parity.LIMITS[max(precision, arithmetic, key=PRECISIONS.index)]

    with new_folder(output) as folder:
        artifact = _write(folder, generator, config, formats, precision)
        _check_parity(artifact, limit)
        text = card(artifact, programs(generator), arithmetic, limit)
        (folder / CARD).write_text(text, encoding="utf-8")
        _copy_learned(workdir, folder, generator.digest)
        replace(artifact, files=digests_of(folder)).save(folder)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    console.print(parity_table(artifact.parity))
    console.print(f"{output}: {', '.join(artifact.formats)}; {CARD} says what is in it.")
    return artifact


def _check(output: Path, formats: Sequence[str], precision: str) -> None:
    """Raises InputError if a value makes no sense."""
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"--formats has '{name}'; choose of {', '.join(FORMATS)}.")
    if precision not in PRECISIONS:
        raise InputError(f"--precision is '{precision}'; choose one of {', '.join(PRECISIONS)}.")
    if os.path.lexists(output):
        raise InputError(f"'{output}' is there already; name a new folder by --output.")


def _forget(config: ml_collections.ConfigDict) -> None:
    """Leaves out what says where the run was trained and shown."""
    with config.unlocked():
        config.run.wandb = ""
        if "path" in config.get("data", {}):
            config.data.path = ""


def _alone(
    generator: TrainedGenerator, config: ml_collections.ConfigDict, persona: str
) -> tuple[TrainedGenerator, ml_collections.ConfigDict]:
    """The generator and the config of one persona, or of a mix, that is all that they know.

    Raises:
        InputError: the generator cannot show it, or does not keep personas apart.
    """
    who = who_is(generator, persona, ())
    weights = generator.identity(who)[WEIGHTS]
    if OWN not in generator.variables:
        raise InputError("This model does not keep its personas apart; leave --persona out.")

    def mixed(leaf):
        weight = weights.reshape(-1, *[1] * (leaf.ndim - 1))
        return (weight * leaf).sum(0, keepdims=True)

    own = jax.tree.map(mixed, generator.variables[OWN])
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.personas = tuple(who.personas) if len(who.personas) == 1 else (persona,)
    return archive.generator_of(
        config, generator.variables | {OWN: own}, generator.step, generator.digest
    ), config


def _write(
    folder: Path,
    generator: TrainedGenerator,
    config: ml_collections.ConfigDict,
    formats: Sequence[str],
    precision: str,
) -> Artifact:
    """Writes all formats, and compares them with the generator."""
    made = programs(generator)
    stored = archive.stored(generator.variables, precision)
    archive.write(folder, config, stored)
    facts = {SAFETENSORS: {"read_by": "faceswap with the code of the task"}}
    if STABLEHLO in formats:
        facts[STABLEHLO] = stablehlo.write(folder, made, stored)
    if ONNX in formats:
        facts[ONNX] = onnx.write(folder, made, stored, _metadata(generator))

    reference = compiled(made, generator.variables)
    found = {}
    for kind in facts:
        if kind == SAFETENSORS:
            run = compiled(made, archive.restored(archive.read(folder, stored)))
        else:
            run = run_of(folder, kind, list(made))
        found[kind] = parity.differences(generator, made, reference, run)
    return Artifact(
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        by={"faceswap-jax": version("faceswap-jax"), "jax": jax.__version__},
        task=config.task,
        digest=generator.digest,
        precision=precision,
        description=generator.description,
        formats=facts,
        parity=found,
        files={},
    )


def _check_parity(artifact: Artifact, limit: float) -> None:
    """Raises InputError if a format differs from the checkpoint."""
    for kind, found in artifact.parity.items():
        for name, difference in found.items():
            allowed = parity.allowed(name, limit)
            # NaN is no parity either.
            if not difference <= allowed:
                raise InputError(
                    f"'{name}' of {kind} differs from the checkpoint by {difference:.1e}, more than {allowed:.2g}, so "
                    "nothing was written; choose other --formats or another --precision."
                )


def compiled(made: Mapping[str, Program], variables: PyTree) -> Run:
    """Runs programs as the code of the task has them."""
    functions = {name: jax.jit(program.function) for name, program in made.items()}

    def run(name, arrays):
        given = {wanted: arrays[wanted] for wanted in made[name].inputs}
        return jax.tree.map(np.asarray, functions[name](variables, given))

    return run


def _metadata(generator: TrainedGenerator) -> dict[str, str]:
    """What an ONNX file tells of itself."""
    return {
        "alignment": generator.alignment,
        "resolution": str(generator.resolution),
        "placement": generator.placement,
        "outline": generator.outline,
        "personas": json.dumps(list(generator.personas)),
        "step": str(generator.step),
        "digest": generator.digest,
    }


def _copy_learned(workdir: Path, folder: Path, digest: str) -> None:
    """Takes along the vectors and the control that belong to these weights."""
    files = [*(workdir / vectors.FOLDER).glob("[!.]*.json"), workdir / control.FILE]
    for path in files:
        if path.exists() and json.loads(path.read_text()).get("digest") == digest:
            target = folder / path.relative_to(workdir)
            make_folder(target.parent)
            shutil.copyfile(path, target)
