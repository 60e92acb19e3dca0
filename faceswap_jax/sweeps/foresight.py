"""What can be known of a sweep before its first trial: whether tasks can be built, and what they report."""

from collections.abc import Iterator

import jax
from jax.sharding import AxisType, Mesh

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.parallel.batches import put
from faceswap_jax.parallel.mesh import AXES
from faceswap_jax.reporting.reporter import TIMES
from faceswap_jax.sweeps.files import ReadConfig, Search, Trial, as_flags, draw, wrong
from faceswap_jax.tasks.base import Phase, Task, abstract_state
from faceswap_jax.tasks.registry import load_task, task_class
from faceswap_jax.training.held_out import HeldOut
from faceswap_jax.training.programs import Compiler, programs_of

MOST = 100  # random draws that are tried out
MOST_BAYES = 3  # the later ones depend on outcomes


def check_trials(search: Search, count: int, read_config: ReadConfig) -> None:
    """Builds the tasks of the trials to come, and looks for the metric among what the first one reports.

    Keeps JAX on the CPU of this process, for the trials need the other devices.

    Args:
        search: what to draw from.
        count: of the trials.
        read_config: as for `files.load`.

    Raises:
        InputError: a value makes no sense, the data are missing or do not fit, or there is no such metric.
    """
    # Not the environment, which trials inherit.
    jax.config.update("jax_platforms", "cpu")
    for number, parameters in enumerate(foreseen(search.config, count)):
        given = as_flags(parameters)
        try:
            task = build([*search.arguments, *given], read_config)
        except InputError as error:
            raise InputError(
                f"The sweep file '{search.path}', {' '.join(given)}: {error}"
            ) from error
        if number == 0:
            _check_metric(search, task)


def foreseen(config: dict, count: int) -> Iterator[dict]:
    """The parameters of the first `count` trials, as far as they do not depend on outcomes."""
    method = config["method"]
    most = {"grid": count, "bayes": min(count, MOST_BAYES)}.get(method, min(count, MOST))
    drawn = []
    for number in range(1, most + 1):
        parameters = draw(config, drawn, number)
        if parameters is None:
            return
        yield parameters
        # A grid is drawn in order; other draws follow from the number.
        if method == "grid":
            drawn.append(Trial(number, parameters))


def build(arguments: list[str], read_config: ReadConfig) -> Task:
    """The task that arguments of `faceswap train` describe.

    Raises:
        InputError: they make no sense, or the data are missing or do not fit.
    """
    config = read_config(arguments)
    # The trial's devices are not this process's.
    config.mesh.persona = 1
    config = task_class(config).resolve(config)
    configs.check_run(config)
    return load_task(config)


def metric_names(task: Task, phase: Phase) -> set[str]:
    """The names in metrics.jsonl of what a phase reports; nothing is compiled."""
    # One device is enough for shapes, and divides every batch.
    devices = jax.local_devices()[:1]
    mesh = jax.make_mesh((1, 1), AXES, axis_types=(AxisType.Auto,) * 2, devices=devices)
    with jax.set_mesh(mesh):
        return _step_metrics(task, phase, mesh) | _scores(task, phase, mesh)


def _step_metrics(task: Task, phase: Phase, mesh: Mesh) -> set[str]:
    state = abstract_state(task, phase)
    batch = put(task.train_data(phase, 0, 1)[0], task.batch_spec, mesh)
    names = set()
    for step in task.steps(phase).values():
        _, metrics = jax.eval_shape(step, state, batch)
        names |= set(metrics)
    return names


def _scores(task: Task, phase: Phase, mesh: Mesh) -> set[str]:
    held_out = HeldOut(task, phase, mesh, programs_of(task, phase, mesh, Compiler()))
    return {f"eval/{name}" for name in held_out.score_names(abstract_state(task, phase))}


def _check_metric(search: Search, task: Task) -> None:
    # The last phase reports what trials are usually ranked by.
    names = set(TIMES)
    for phase in reversed(task.phases):
        names |= metric_names(task, phase)
        if search.metric in names:
            return
    remedy = f"let metric.name be one of {', '.join(sorted(names))}"
    raise wrong(search.path, f"no trial will report '{search.metric}'", remedy)
