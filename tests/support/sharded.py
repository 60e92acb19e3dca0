"""The same training on one device and on eight."""

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Metrics, Step


def on_one_and_on_eight(
    step: Step, state: State, batch: Batch, steps: int = 2
) -> list[tuple[State, Metrics]]:
    """States after some steps, and the metrics of the last: of the first device, and of a mesh of all eight.

    Args:
        step: jitted, so that what a module has compiled for one device serves here.
        state: before the first one.
        batch: of every step.
        steps: how many.
    """
    mesh = make_mesh()
    layout = rules.shardings(jax.eval_shape(lambda: state), mesh)
    on_all = jax.jit(step, out_shardings=(layout, None))

    one, all_eight = state, jax.device_put(state, layout)
    placed = jax.device_put(batch, NamedSharding(mesh, P("data")))
    for _ in range(steps):
        one, alone = step(one, batch)
        with jax.set_mesh(mesh):
            all_eight, together = on_all(all_eight, placed)
    return [jax.device_get((one, alone)), jax.device_get((all_eight, together))]
