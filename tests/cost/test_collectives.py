"""What devices exchange: each act once, its bytes, and between whom."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from faceswap_jax.cost.collectives import Collective, collectives
from faceswap_jax.cost.hlo import computations

LINES = """
%body (p: f32[]) -> f32[] {{
{}
}}
"""


def found_in(text: str, mesh) -> list[Collective]:
    """The collectives of the instructions of one computation."""
    return collectives(computations(LINES.format(text)), mesh)


def test_those_of_a_known_program(mesh):
    def exchanged(x):  # [2, 8] on each of the two devices along data
        total = jax.lax.psum(x, "persona")
        whole = jax.lax.all_gather(total.astype(jnp.int16), "data", tiled=True)
        return jax.lax.ppermute(
            whole.astype(jnp.int8), "persona", [(p, (p + 1) % 4) for p in range(4)]
        )

    specs = {"in_specs": P("data"), "out_specs": P("persona")}
    step = jax.jit(jax.shard_map(exchanged, mesh=mesh, **specs, check_vma=False))
    x = jax.ShapeDtypeStruct((4, 8), jnp.float32, sharding=NamedSharding(mesh, P("data")))
    text = step.lower(x).compile().as_text()
    found = {one.kind: one for one in collectives(computations(text), mesh)}
    assert found == {
        "all-reduce": Collective("all-reduce", ("persona",), 4, ("f32[2,8]",), 64),
        "all-gather": Collective("all-gather", ("data",), 2, ("s16[4,8]",), 64),
        "collective-permute": Collective("collective-permute", ("persona",), 2, ("s8[4,8]",), 32),
    }


def test_what_is_started_and_awaited_counts_once(mesh):
    """As GPUs and TPUs have it: the start's type has the operands too. What goes nowhere does not count."""
    text = """
      %all-gather-start.1 = (f32[2,8]{1,0}, f32[4,8]{1,0}) all-gather-start(%p), replica_groups=[4,2]<=[2,4]T(1,0)
      ROOT %all-gather-done.1 = f32[4,8]{1,0:T(8,128)} all-gather-done(%all-gather-start.1)
      %all-reduce.7 = (f32[]{:T(128)}, pred[3]{0}, /*index=2*/s4[6]{0}) all-reduce(%a, %b, %c), to_apply=%add
      %get-tuple-element.2 = f32[] get-tuple-element(%all-reduce.7), index=0
      %alone.1 = f32[4]{0} all-reduce(%p), channel_id=1, replica_groups={{0},{1}}, to_apply=%add
      %alone.2 = f32[4]{0} all-reduce(%p), channel_id=1, replica_groups=[2,1]<=[2], to_apply=%add
    """
    assert found_in(text, mesh) == [
        Collective("all-gather", ("data",), 2, ("f32[4,8]",), 128),
        Collective("all-reduce", ("data", "persona"), 8, ("f32[]", "pred[3]", "s4[6]"), 10),
    ]


def test_pieces_of_one_count_once(mesh):
    """TPU's compiler spreads an exchange over operations that run meanwhile, each in a computation of its own."""
    piece = (
        "%all-gather.{} = bf16[3,3,8,8]{{3,2,1,0:T(8,128)(2,1)S(1)}} all-gather(%p), channel_id=15, "
        'replica_groups=[4,2]<=[2,4]T(1,0), dimensions={{2}}, frontend_attributes={{chain_id="{}"}}'
    )
    text = "".join(LINES.format(f"  {piece.format(*n)}") for n in [(1, 6), (2, 6), (3, 6), (4, 7)])
    found = collectives(computations(text), mesh)
    assert found == [Collective("all-gather", ("data",), 2, ("bf16[3,3,8,8]",), 1152)] * 2


def test_a_sum_of_which_each_keeps_a_part(mesh):
    text = """
%all-reduce-scatter.7 (input_0: f32[8,4]) -> f32[4,4] {
  %all-reduce.1 = f32[8,4]{1,0:T(8,128)} all-reduce(%input_0), channel_id=1, replica_groups={{0,4},{1,5},{2,6},{3,7}}
}
"""
    found = collectives(computations(text), mesh)
    assert found == [Collective("reduce-scatter", ("data",), 2, ("f32[4,4]",), 64)]


@pytest.mark.parametrize(
    ("groups", "axes", "devices"),
    [
        ("{{0,1,2,3},{4,5,6,7}}", ("persona",), 4),
        ("[2,4]<=[8]", ("persona",), 4),
        ("[4,2]<=[2,4]T(1,0)", ("data",), 2),
        ("[1,8]<=[8]", ("data", "persona"), 8),
        ("mesh['axis_0'=2,'axis_1'=4] {'axis_0'}", ("data",), 2),
        ("mesh['a'=4,'b'=1,'c'=2], device_ids=([2,4]T(1,0)) {'a'}", ("persona",), 4),
        ("mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a','b'}", ("data", "persona"), 8),
        ("{}", ("data", "persona"), 8),
    ],
)
def test_between_whom(mesh, groups, axes, devices):
    text = (
        f"  %a = f32[4]{{0}} all-reduce(%p), channel_id=1, replica_groups={groups}, to_apply=%add"
    )
    (found,) = found_in(text, mesh)
    assert (found.axes, found.devices) == (axes, devices)


def test_bytes_that_have_to_leave_a_device():
    def sent(kind):
        return Collective(kind, ("data",), 4, (), 120).sent

    assert sent("all-gather") == 90  # all but its own quarter, passed on around a ring
    assert sent("reduce-scatter") == 360  # three of the four quarters
    assert sent("all-reduce") == 180  # both, one after the other, of quarters of 30
    assert sent("all-to-all") == 90
    assert sent("collective-permute") == 120
