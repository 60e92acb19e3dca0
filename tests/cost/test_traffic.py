"""What goes between cores and memory: tiles filled up, but nothing that stays in fast memory."""

import jax
import jax.numpy as jnp
import pytest

from faceswap_jax.cost.hlo import arrays, computations
from faceswap_jax.cost.traffic import traffic


@pytest.mark.parametrize(
    ("text", "size", "held"),
    [
        ("f32[8,2]", 64, 64),
        ("f32[8,2]{1,0:T(8,128)}", 64, 8 * 128 * 4),
        # Along the fastest dimensions, which are not the last ones
        ("bf16[3,200,7]{1,0,2:T(8,128)(2,1)}", 3 * 200 * 7 * 2, 7 * 8 * 256 * 2),
        ("f32[]{:T(128)}", 4, 512),
        ("pred[3]{0}", 3, 3),
        ("s4[6]{0}", 3, 3),
    ],
)
def test_bytes_of_an_array(text, size, held):
    (array,) = arrays(text)
    assert (array.size, array.held) == (size, held)


def test_only_what_lies_in_memory_counts():
    text = """
%async_collective_fusion.1 (p: f32[64]) -> f32[64] {
  %g = f32[128]{0} all-gather(%p), channel_id=1, frontend_attributes={chain_id="0"}
}

ENTRY %main (a: f32[64]) -> f32[64] {
  %a = f32[64]{0} parameter(0)
  %copy-start = (f32[64]{0:S(1)}, f32[64]{0}, u32[]{:S(2)}) copy-start(%a)
  %copy-done = f32[64]{0:S(1)} copy-done(%copy-start)
  %inner = f32[64]{0:S(1)} fusion(%copy-done, %copy-done), kind=kLoop, calls=%fused
  %g0 = f32[128]{0} fusion(%a), kind=kCustom, calls=%other
  %pair = (f32[64]{0}, f32[128]{0}) fusion(%inner, %g0), kind=kCustom, calls=%async_collective_fusion.1
  ROOT %b = f32[64]{0} get-tuple-element(%pair), index=0
}
"""
    read = 64 * 4
    gathered = 64 * 4 + 128 * 4
    written = 64 * 4
    assert traffic(computations(text)) == read + gathered + written


def test_of_slices_only_the_slice():
    text = """
ENTRY %main (a: f32[64]) -> f32[8] {
  %a = f32[64]{0} parameter(0)
  %slice-start = ((f32[64]{0}), f32[8]{0:S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:8]}
  %slice-done = f32[8]{0:S(1)} slice-done(%slice-start)
  ROOT %b = f32[8]{0} slice(%a), slice={[8:16]}
}
"""
    prefetched = 8 * 4
    copied = 2 * 8 * 4
    assert traffic(computations(text)) == prefetched + copied


def test_of_a_real_program():
    """A sum of rows reads the matrix once and writes the rows."""
    x = jax.ShapeDtypeStruct((512, 256), jnp.float32)
    text = jax.jit(lambda x: jnp.sin(x).sum(1)).lower(x).compile().as_text()
    assert 512 * 256 * 4 < traffic(computations(text)) < 3.1 * 512 * 256 * 4
