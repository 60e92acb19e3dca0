"""The training loop. It knows phases, states and batches, and no model."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import ml_collections
from jax.sharding import Mesh, NamedSharding
from jaxtyping import PyTree

from data_pipelines import pipeline
from faceswap_jax import config as configs
from faceswap_jax.checkpoint import Checkpoints
from faceswap_jax.errors import InputError
from faceswap_jax.faces import picture
from faceswap_jax.goodput import Clock
from faceswap_jax.metrics import Reporter
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Phase, Task, abstract_state, load_task, phase_of, task_class


def train(config: ml_collections.ConfigDict, workdir: Path) -> bool:
    """Trains `config` in `workdir`, from its newest checkpoint if there is one, to the end or an interruption.

    Writes config.json, metrics.jsonl, goodput.jsonl, checkpoints/ and previews/.

    Returns:
        Whether the run reached its end.

    Raises:
        InputError: the config is wrong, its data is missing, or `workdir` belongs to another config.
        FloatingPointError: the loss is not a number any more.
    """
    clock = Clock()
    config = task_class(config).resolve(config)
    task = load_task(config)
    mesh = make_mesh(config.mesh.persona, config.mesh.cpu_devices)
    every = config.run
    for name, value in every.items():
        if value < 1:
            raise InputError(f"config.run.{name} is {value}; give 1 or more.")
    for phase in task.phases:  # the data of every phase are there and fit before anything is written
        put(task.train_data(phase, jax.process_index(), jax.process_count())[0], task, mesh)
    claim(workdir, config)
    with jax.set_mesh(mesh), Checkpoints(workdir / "checkpoints", every.keep) as checkpoints:
        step, state = restore_or_init(task, mesh, checkpoints, config.seed, clock)
        with Reporter(workdir, task.phases, step, every.log) as reporter, Interruption() as interruption:
            if step:
                reporter.message(f"Continuing '{workdir}' after step {step:,}.")
            for phase in task.phases:
                if step >= phase.stop or interruption.requested:
                    continue
                programs = programs_of(task, phase, mesh, clock)
                if step == phase.start and phase is not task.phases[0]:
                    state = programs.enter(state)
                held_out = put(task.eval_data(phase, jax.process_index(), jax.process_count())[0], task, mesh)
                data = task.train_data(phase, jax.process_index(), jax.process_count())
                with pipeline.iterate(data, step, phase.stop) as batches, clock("step"):
                    for batch in clock.each("data", batches):
                        batch = put(batch, task, mesh)
                        with jax.transfer_guard("disallow"):  # what moves unasked makes the device wait for the host
                            state, values = programs.train_step(state, batch)
                            step += 1
                            reporter.train(step, phase, values)
                        stopping = interruption.requested  # asked once: what comes later waits for the next step
                        last = step == phase.stop or stopping
                        if last or step % every.preview == 0 or step % every.checkpoint == 0:
                            reporter.flush()  # so that no diverged state is saved, and no row is lost
                        if last or step % every.preview == 0:
                            with clock("evaluation"):
                                reporter.evaluation(step, programs.eval_step(state, held_out))
                                grid = jax.device_get(programs.preview(state, held_out))
                                picture.save_grid(workdir / "previews" / f"step_{step:07d}.png", grid)
                        if last or step % every.checkpoint == 0:
                            with clock("checkpoint"):
                                checkpoints.save(state)
                        if stopping:
                            break
            if task.corrupt:
                reporter.message(f"{task.corrupt} corrupt records were skipped; `faceswap verify` tells more.")
            finished = step == task.phases[-1].stop
            if finished:
                reporter.message(f"Finished: '{workdir}' is at step {step:,}.")
            else:
                reporter.message(f"Interrupted and saved at step {step:,}; the same command continues.")
            reporter.goodput(step, clock.seconds())
            return finished


class Program:
    """A jitted function that is compiled ahead of its first call.

    From then on arguments of another shape, type or layout are an error, not a compilation that nobody notices.
    """

    def __init__(self, clock: Clock, function: Callable, **options):
        self._clock, self._function, self._compiled = clock, jax.jit(function, **options), None

    def __call__(self, *arguments: PyTree) -> PyTree:
        """Compiles if need be, and dispatches."""
        if self._compiled is None:
            with self._clock("compile"):
                self._compiled = self._function.lower(*arguments).compile()
        return self._compiled(*arguments)


@dataclass(frozen=True)
class Programs:
    """The compiled functions of one phase."""

    enter: Callable[[State], State]
    train_step: Callable
    eval_step: Callable
    preview: Callable


# For what runs once: compiles in half the time, to the same numbers.
QUICK = {"xla_backend_optimization_level": 1}


def programs_of(task: Task, phase: Phase, mesh: Mesh, clock: Clock) -> Programs:
    """The functions of a phase."""
    layout = rules.shardings(abstract_state(task, phase), mesh)
    return Programs(
        enter=Program(clock, partial(task.enter, phase), out_shardings=layout, compiler_options=QUICK),
        train_step=Program(clock, partial(task.train_step, phase), donate_argnums=0, out_shardings=(layout, None)),
        eval_step=Program(clock, partial(task.eval_step, phase)),
        preview=Program(clock, partial(task.preview, phase)),
    )


def restore_or_init(task: Task, mesh: Mesh, checkpoints: Checkpoints, seed: int, clock: Clock) -> tuple[int, State]:
    """The newest checkpoint's step and state, or a fresh state."""
    step = checkpoints.latest or 0
    phase = phase_of(task, step)
    layout = rules.shardings(abstract_state(task, phase), mesh)
    if step:
        return step, checkpoints.restore(step, abstract_state(task, phase), layout)
    init = Program(clock, partial(task.init_state, phase), out_shardings=layout, compiler_options=QUICK)
    state, frozen = init(jax.random.key(seed)), task.frozen()
    given = jax.device_put(frozen, {name: layout.extras[name] for name in frozen})
    return 0, replace(state, extras=state.extras | given)


def put(batch: Batch, task: Task, mesh: Mesh) -> Batch:
    """This host's part of a batch as part of the global, sharded batch.

    Raises:
        InputError: the batch does not divide among the devices.
    """
    for array in jax.tree.leaves(batch):
        for size, axis in zip(array.shape, task.batch_spec, strict=False):
            if axis and size % mesh.local_mesh.shape[axis]:
                raise InputError(
                    f"A batch of shape {array.shape} does not divide among the mesh {dict(mesh.shape)}; "
                    "change config.batch."
                )
    sharding = NamedSharding(mesh, task.batch_spec)
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), batch)


def claim(workdir: Path, config: ml_collections.ConfigDict) -> None:
    """Makes `workdir` the folder of this config.

    Raises:
        InputError: it holds the run of another config, or something else.
    """
    path = workdir / "config.json"
    if path.exists():
        changed = configs.differences(configs.load(path), config)
        if changed:
            raise InputError(
                f"'{workdir}' holds a run of another config ({'; '.join(changed)}); undo it or choose a new --workdir."
            )
    elif workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
        raise InputError(f"'{workdir}' exists and is not the folder of a run; choose a new --workdir.")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        path.write_text(configs.to_json(config))
    except OSError as error:
        raise InputError(f"'{workdir}' cannot be written ({error.strerror}); choose another --workdir.") from error


class Interruption:
    """Turns Ctrl-C and SIGTERM into a request to stop after the step under way; a second one stops at once."""

    def __enter__(self) -> "Interruption":
        self.requested = False
        self._previous = {s: signal.signal(s, self._request) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number, _frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
