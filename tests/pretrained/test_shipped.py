"""The networks that ship: they are read as runs are, and know puppets that they were not trained on."""

import jax
import ml_collections
import numpy as np
import pytest

from data_pipelines.batches.assembly import batches
from data_pipelines.batches.roles import Identities
from data_pipelines.datasets import open_data
from data_pipelines.puppets.dataset import write_records
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import verification
from faceswap_jax.losses.expression import from_rest
from faceswap_jax.ops.precision import from_bytes
from faceswap_jax.pretrained import embedder, expression, shipped

PEOPLE, TRACKS = 16, 4
ALIGNMENT = "stable"


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Faces of people of another world, each in the looks of four others."""
    folder = tmp_path_factory.mktemp("people") / "data"
    write_records(folder, 11, range(PEOPLE), range(TRACKS), 1, 1, 64, restyled=True)
    data = ml_collections.ConfigDict({"kind": "tracks", "path": str(folder), "split": "train"})
    people = list(open_data(data).values())
    found = batches(
        people,
        Identities(TRACKS),
        fields=("image", "landmarks", "irises", "identity"),
        alignment=ALIGNMENT,
        resolution=64,
        batch=PEOPLE * TRACKS,
        seed=0,
    )[0]
    return {**found, "image": from_bytes(found["image"])}


def test_people_are_told_apart_in_anybody_s_looks(faces):
    network = embedder.load_for(shipped.PUPPETS, ALIGNMENT)
    embeddings = jax.jit(embedder.embed, static_argnums=0)(
        network.config, network.params, network.statistics, faces["image"]
    )
    first, second = np.triu_indices(len(embeddings), 1)
    same = faces["identity"][first] == faces["identity"][second]
    assert verification.area(np.asarray(embeddings @ embeddings.T)[first, second], same) > 0.9


def test_what_they_do_is_told(faces):
    network = expression.load_for(shipped.PUPPETS, ALIGNMENT)
    told = jax.jit(expression.vectors, static_argnums=0)(
        network.config, network.params, faces["image"]
    )
    wanted = from_rest(faces["landmarks"], faces["irises"])
    error = np.nansum((told - wanted) ** 2)
    assert 1 - error / np.nansum((wanted - np.nanmean(wanted, 0)) ** 2) > 0.5


@pytest.mark.parametrize("load", [embedder.load_for, expression.load_for])
def test_faces_that_are_cut_otherwise_are_refused(load):
    with pytest.raises(InputError, match=r"'puppets' knows faces aligned as 'stable'; set config"):
        load(shipped.PUPPETS, "eyes")
