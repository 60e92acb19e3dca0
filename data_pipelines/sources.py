"""The face records that an experiment's `config.data` names, by persona."""

from collections.abc import Mapping
from pathlib import Path

import ml_collections

from data_pipelines.pipeline import PuppetSource, RecordSource
from data_pipelines.records import Manifest, open_source
from faceswap_jax.errors import InputError


def open_data(data: ml_collections.ConfigDict) -> Mapping[str, RecordSource]:
    """One source of face records per persona, by name.

    Args:
        data: `kind` "tracks" with `path`, a folder made by `faceswap prepare`; or `kind` "puppets" with `world_seed`,
            `personas` (their number), `frames` (of each) and `resolution`.

    Raises:
        InputError: another kind, or a folder that holds no sound data set.
    """
    if data.kind == "tracks":
        folder = Path(data.path)
        return {name: open_source(folder, name) for name in Manifest.load(folder).personas}
    if data.kind == "puppets":
        return {
            f"puppet{p}": PuppetSource(data.world_seed, p, 0, data.frames, data.resolution)
            for p in range(data.personas)
        }
    raise InputError(f"config.data.kind is '{data.kind}'; choose tracks or puppets.")
