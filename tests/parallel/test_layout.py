"""The layout of each network at its full size, against its committed table; nothing of it is computed here."""

from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import (
    attribute,
    comb,
    inversion,
    parts,
    stylegan2,
    transfer,
    tunable,
    x2face,
)
from faceswap_jax.models import iresnet
from faceswap_jax.models.stylegan2 import StyleGAN2Config
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.pretrained import embedder
from faceswap_jax.pretrained import inversion as pretrained_inversion
from faceswap_jax.tasks.base import abstract_state
from faceswap_jax.tasks.registry import load_task

OF_PERSONAS = {"comb": comb, "parts": parts, "tunable": tunable}
PERSONAS = 128


def state_of(experiment):
    """The shapes of its last phase's state."""
    c = experiment.get_config()
    if "personas" in c:
        c.personas = tuple(f"persona_{p}" for p in range(PERSONAS))
    if "shapes" in c:
        # Of frozen networks as they are published
        c.shapes = {
            "identity": embedder.described(iresnet.IResNetConfig()),
            "generator": embedder.described(StyleGAN2Config()),
        }
    if c.task == "transfer":
        inverts = inversion.get_config()
        inverts.shapes = c.shapes
        shape = pretrained_inversion.shape(inverts)
        c.shapes.inversion = pretrained_inversion.described(shape)
    task = load_task(c)
    return abstract_state(task, task.phases[-1])


@pytest.fixture(scope="module", params=OF_PERSONAS)
def network(request):
    """The name of a network."""
    return request.param


@pytest.fixture(scope="module")
def abstract(network):
    """Its state at 1024 px."""
    return state_of(OF_PERSONAS[network])


def lines(abstract, mesh):
    leaves = jax.tree_util.tree_leaves_with_path(abstract)
    shardings = jax.tree.leaves(rules.shardings(abstract, mesh))
    for (path, leaf), sharding in zip(leaves, shardings, strict=True):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        spec = ", ".join(map(str, sharding.spec)) or "replicated"
        yield f"{name:<58} {leaf.dtype.name:<8} {'x'.join(map(str, leaf.shape)) or 'scalar':<18} {spec}"


def assert_as_committed(name, header, abstract, mesh, folder):
    """A change of the table in rules.py is to be seen, tensor by tensor: the message says how to accept it."""
    text = "\n".join([header, *lines(abstract, mesh)]) + "\n"
    golden = Path(__file__).with_name(f"{name}_layout.txt")
    if not golden.exists() or text != golden.read_text():
        found = folder / golden.name
        found.write_text(text)
        pytest.fail(
            f"The layout has changed: diff {golden} {found}; if it is meant, copy the second over the first."
        )


def test_the_layout_of_every_tensor_is_the_committed_one(network, abstract, tmp_path):
    header = f"P = {PERSONAS}, mesh data 2 x persona 4"
    assert_as_committed(network, header, abstract, make_mesh(4), tmp_path)


@pytest.mark.parametrize("experiment", [x2face, attribute, stylegan2, inversion, transfer])
def test_so_is_that_of_systems_without_personas(experiment, tmp_path):
    name = experiment.__name__.rpartition(".")[2]
    assert_as_committed(name, "mesh data 8", state_of(experiment), make_mesh(), tmp_path)


def per_device(abstract, mesh, group):
    """Bytes of a group's parameters and moments on one device."""
    leaves = jax.tree_util.tree_leaves_with_path(abstract)
    shardings = jax.tree.leaves(rules.shardings(abstract, mesh))
    return sum(
        int(np.prod(sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for (path, leaf), sharding in zip(leaves, shardings, strict=True)
        if f"/{group}/" in jax.tree_util.keystr(path, simple=True, separator="/") and leaf.ndim
    )


def test_memory_of_decoders_falls_as_the_persona_axis_and_that_of_the_encoder_as_the_data_axis(
    abstract,
):
    decoders = {size: per_device(abstract, make_mesh(size), "personas") for size in (1, 2, 4, 8)}
    assert {size: decoders[1] / b for size, b in decoders.items()} == {1: 1, 2: 2, 4: 4, 8: 8}
    whole, halved = (per_device(abstract, make_mesh(size), "encoder") for size in (8, 4))
    assert halved < 0.55 * whole  # all but biases and small kernels


def test_moments_lie_where_their_parameters_do(abstract):
    layout = rules.shardings(abstract, make_mesh(4))
    for group, modules in layout.params.items():
        for name, shardings in modules.items():
            for moment in (layout.opt[group][name].mu, layout.opt[group][name].nu):
                assert moment == shardings
