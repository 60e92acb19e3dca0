"""The training loop. It knows phases, states and batches, and no model."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import jax
import ml_collections
from jax.sharding import Mesh

from data_pipelines.batches import pipeline
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.errors import DivergedError, InputError
from faceswap_jax.faces import picture
from faceswap_jax.files import write_json
from faceswap_jax.parallel import distributed, rules
from faceswap_jax.parallel.batches import put
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.reporting import progress
from faceswap_jax.reporting.board import Board
from faceswap_jax.reporting.goodput import Clock
from faceswap_jax.reporting.profile import Profile
from faceswap_jax.reporting.reporter import Reporter
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Phase, Task, abstract_state
from faceswap_jax.tasks.registry import load_task, task_class
from faceswap_jax.training import finite, runs
from faceswap_jax.training.held_out import HeldOut
from faceswap_jax.training.interruption import Interruption
from faceswap_jax.training.programs import QUICK, Program, Programs, programs_of
from faceswap_jax.training.workdir import claimed

logger = logging.getLogger(__name__)
SKIPPED = "skipped.json"
"""In the folder of a run: which batches rollbacks have left out, and to the checkpoints of which steps they went."""
ROLLBACKS = 3
"""From one checkpoint; when there are more, the batches are hardly to blame."""


def train(config: ml_collections.ConfigDict, workdir: Path, profile: Profile | None = None) -> bool:
    """Trains `config` in `workdir`, from its newest checkpoint if there is one, to the end or an interruption.

    Writes config.json, metrics.jsonl, goodput.jsonl, progress.json, checkpoints/ and previews/.

    Args:
        config: an experiment's.
        workdir: folder of the run, made or continued.
        profile: which steps to trace.

    Returns:
        Whether the run reached its end.

    Raises:
        InputError: the config is wrong, its data are missing, `workdir` belongs to another config, or memory or disk do
            not suffice.
        DivergedError: NaN or infinity arose, and rolling back is not wanted or does not help.
        JobError: another process of the job has ended.
    """
    clock = Clock()
    config = task_class(config).resolve(config)
    configs.check_run(config)
    task = load_task(config)
    mesh = make_mesh(config.mesh.persona, config.mesh.cpu_devices)
    for (
        phase
    ) in task.phases:  # the data of every phase are there and fit before anything is written
        put(task.train_data(phase, *distributed.share(mesh))[0], task.batch_spec, mesh)
    with (
        claimed(workdir, config),
        jax.set_mesh(mesh),
        Checkpoints(workdir, config, writing=True) as checkpoints,
        board(workdir, config) as shown,
        Interruption() as interruption,
    ):
        run = Training(
            config,
            workdir,
            task,
            mesh,
            clock,
            checkpoints,
            shown,
            interruption,
            profile or Profile(),
        )
        with explained(task, lambda: run.phase):
            while True:
                try:
                    return run.to_the_end()
                except finite.NotFiniteError as error:
                    run.skip(error)


@dataclass
class Training:
    """A run under way."""

    config: ml_collections.ConfigDict
    workdir: Path
    task: Task
    mesh: Mesh
    clock: Clock
    checkpoints: Checkpoints
    board: Board | None
    interruption: Interruption
    profile: Profile
    programs: dict[Phase, Programs] = field(default_factory=dict)

    def __post_init__(self):
        """Reads which batches earlier starts have skipped."""
        path, self.phase = self.workdir / SKIPPED, self.task.phases[0]
        self.rollbacks: list[dict[str, int]] = json.loads(path.read_text()) if path.exists() else []

    def to_the_end(self) -> bool:
        """From the newest checkpoint to the last step, or an interruption; returns whether it was the last step."""
        step, state = restore_or_init(
            self.task, self.mesh, self.checkpoints, self.config.seed, self.clock
        )
        phases, stopping, began = self.task.phases, False, step
        with Reporter(self.workdir, phases, step, self.config.run.log, self.board) as reporter:
            if step < phases[-1].stop:
                reporter.state("running")
            if step:
                reporter.message(f"Continuing '{self.workdir}' after step {step:,}.")
            for phase in phases:
                if step < phase.stop and not stopping:
                    self.phase = phase
                    step, state, stopping = self.through(phase, step, state, reporter)
                    stopping = (
                        stopping or self.interruption.requested
                    )  # rather than to compile the next phase
            with self.clock("checkpoint"):
                self.checkpoints.wait()
            if self.task.corrupt:
                reporter.message(
                    f"{self.task.corrupt} corrupt records were skipped; `faceswap verify` tells more."
                )
            finished = step == phases[-1].stop
            ending = "finished" if finished else "interrupted"
            if step > began or progress.read(self.workdir).get("state") != ending:
                reporter.state(ending)
            if finished:
                reporter.message(f"Finished: '{self.workdir}' is at step {step:,}.")
            else:
                reporter.message(
                    f"Interrupted and saved at step {step:,}; the same command continues."
                )
            reporter.goodput(step, self.clock.seconds())
            return finished

    def through(
        self, phase: Phase, step: int, state: State, reporter: Reporter
    ) -> tuple[int, State, bool]:
        """The steps of a phase; returns the number of steps done, the state, and whether to stop there."""
        every, task, clock = self.config.run, self.task, self.clock
        part, parts = distributed.share(self.mesh)
        if phase not in self.programs:
            self.programs[phase] = programs_of(task, phase, self.mesh, clock)
        programs = self.programs[phase]
        if step == phase.start and phase is not task.phases[0]:
            state = programs.enter(state)
        held_out = HeldOut(task, phase, self.mesh, programs)
        names = held_out.score_names(state) if every.best else ()
        if every.best and every.best.removeprefix("-") not in names:
            raise InputError(
                f"config.run.best is '{every.best}'; the scores are {', '.join(names)}."
            )
        data = task.train_data(phase, part, parts)
        stopping = False
        iteration = pipeline.iterate(data, step, phase.stop, skipped=self.skipped)
        with iteration as batches, clock("step"), closing(self.profile):
            for host_batch in clock.each(
                "data", until_failure(batches, lambda: self.keep(state, reporter))
            ):
                train_step = programs.steps[task.step_name(phase, step)]
                batch, step = put(host_batch, task.batch_spec, self.mesh), step + 1
                self.profile.before(step, state)
                with jax.transfer_guard(
                    "disallow"
                ):  # what moves unasked makes the device wait for the host
                    state, values, good = train_step(state, batch)
                    reporter.train(
                        step,
                        phase,
                        values,
                        partial(finite.check, step, host_batch, values, state, good),
                    )
                self.profile.after(step, state)
                stopping = self.interruption.after(
                    step
                )  # asked once: what comes later waits for the next step
                last = step == phase.stop or stopping
                showing, saving = (
                    last or step % every.preview == 0,
                    last or step % every.checkpoint == 0,
                )
                if showing or saving:
                    reporter.flush()  # so that no diverged state is saved, and no row is lost
                if showing:
                    with clock("evaluation"):
                        path, grid = None, held_out.grid(state)
                        if grid is not None and jax.process_index() == 0:
                            path = self.workdir / "previews" / f"step_{step:07d}.png"
                            picture.save_grid(path, grid)
                        scores = reporter.evaluation(step, held_out.scores(state), path)
                if saving:
                    with clock("checkpoint"):
                        self.checkpoints.save(
                            state, merit(every.best, phase, scores if showing else {})
                        )
                if stopping:
                    break
        return step, state, stopping

    def keep(self, state: State, reporter: Reporter) -> None:
        """Saves what has been learned when the data fail; several processes cannot, for the others do not know."""
        reporter.flush()
        if jax.process_count() == 1:
            self.checkpoints.save(state)
            self.checkpoints.wait()
            reporter.message(f"Saved at step {int(state.step):,}.")

    @property
    def skipped(self) -> list[int]:
        """Numbers of the batches that are left out, ascending."""
        return sorted(entry["batch"] for entry in self.rollbacks)

    def skip(self, error: finite.NotFiniteError) -> None:
        """Leaves out the batch with which NaN arose from now on.

        Raises:
            DivergedError: that is not wanted, or does not help.
        """
        about = finite.write_aside(error, self.workdir)
        self.checkpoints.wait()
        last = max(self.checkpoints.steps, default=0)
        if self.config.run.not_finite == "stop":
            raise DivergedError(
                f"{about} The run stands at the checkpoint of step {last:,}; look at the batch and skip it with "
                "--config.run.not_finite=rollback, or lower config.learning_rate in a new --workdir."
            ) from error
        if sum(entry["checkpoint"] == last for entry in self.rollbacks) == ROLLBACKS:
            raise DivergedError(
                f"{about} {ROLLBACKS} batches after the checkpoint of step {last:,} have been skipped, and it did not "
                "help; lower config.learning_rate in a new --workdir."
            ) from error
        # All processes come to the same; one writes it down, for later starts.
        self.rollbacks.append(
            {"batch": pipeline.batch_number(error.step - 1, self.skipped), "checkpoint": last}
        )
        if jax.process_index() == 0:
            write_json(self.workdir / SKIPPED, self.rollbacks)
            logger.warning("%s Going back to step %d; this batch is skipped.", about, last)


def merit(best: str, phase: Phase, scores: Mapping[str, float]) -> tuple[float, float] | None:
    """How good a checkpoint is, by `config.run.best`: a later phase is better, then a higher score, or a lower one."""
    name = best.removeprefix("-")
    return (
        (phase.start, -scores[name] if best.startswith("-") else scores[name])
        if name in scores
        else None
    )


def restore_or_init(
    task: Task, mesh: Mesh, checkpoints: Checkpoints, seed: int, clock: Clock
) -> tuple[int, State]:
    """The newest sound checkpoint's step and state, or a fresh state."""
    state = checkpoints.restore(partial(runs.layout, task, mesh))
    if state is not None:
        return int(state.step), state
    phase, layout = task.phases[0], rules.shardings(abstract_state(task, task.phases[0]), mesh)
    init = Program(
        clock, partial(task.init_state, phase), out_shardings=layout, compiler_options=QUICK
    )
    state, frozen = init(jax.random.key(seed)), task.frozen_inputs()
    given = jax.device_put(frozen, {name: layout.extras[name] for name in frozen})
    return 0, replace(state, extras=state.extras | given)


def until_failure(batches: Iterable[Batch], save: Callable[[], None]) -> Iterator[Batch]:
    """The batches; when one cannot be made, calls `save` before the error goes on."""
    try:
        yield from batches
    except InputError:
        save()
        raise


def board(workdir: Path, config: ml_collections.ConfigDict):
    """Where else to show the run, as a context manager."""
    return (
        Board(workdir, config) if config.run.wandb and jax.process_index() == 0 else nullcontext()
    )


@contextmanager
def explained(task: Task, phase: Callable[[], Phase]) -> Iterator[None]:
    """Says in a sentence what the runtime says in pages; `phase` is called for the one under way.

    Raises:
        InputError: there is not enough memory.
        JobError: another process of the job has ended.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        distributed.raise_if_lost(error)
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        gist = next(line for line in str(error).splitlines() if "RESOURCE_EXHAUSTED" in line)
        raise InputError(
            f"Out of memory at {phase().name} with config.batch={task.config.batch} ({gist[:200]}); continue on more "
            f"devices, or, in a new --workdir, {task.memory_advice}. `faceswap compile` tells what every level needs."
        ) from error
