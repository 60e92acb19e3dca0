"""The training loop. It knows phases, states and batches, and no model."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import jax
import ml_collections
from jax.sharding import Mesh

from data_pipelines.batches import addresses
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.errors import InputError
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.batches import put
from faceswap_jax.parallel.distributed import host_slice
from faceswap_jax.parallel.mesh import make_mesh, split_cpu
from faceswap_jax.reporting.board import Board
from faceswap_jax.reporting.goodput import Clock
from faceswap_jax.reporting.profile import Profile
from faceswap_jax.reporting.reporter import Reporter
from faceswap_jax.reporting.terminal import Terminal
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Phase, Task, abstract_state
from faceswap_jax.tasks.registry import load_task, task_class
from faceswap_jax.training import finite, runs
from faceswap_jax.training.folder import CONFIG, claimed
from faceswap_jax.training.held_out import HeldOut
from faceswap_jax.training.interruption import Interruption
from faceswap_jax.training.memory import explained
from faceswap_jax.training.programs import QUICK, Compiler, Program, Programs, programs_of
from faceswap_jax.training.rollbacks import Rollbacks
from faceswap_jax.training.summary import summary


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
    # What to train. JAX may start when a network is read.
    clock = Clock()
    split_cpu(config.mesh.cpu_devices)
    config = task_class(config).resolve(config)
    configs.check_run(config)
    task = load_task(config)

    # Where to
    mesh = make_mesh(config.mesh.persona)
    terminal = Terminal()
    check_data(task, mesh)
    check_start(task, workdir)
    with (
        claimed(workdir, config, task.may_grow),
        jax.set_mesh(mesh),
        Checkpoints(workdir, config, writing=True, may_grow=task.may_grow) as checkpoints,
        open_board(workdir, config) as board,
        Interruption(clock, terminal.say) as interruption,
    ):
        terminal.say(summary(task, mesh))
        compiler = Compiler(clock, terminal.say)
        profile = profile or Profile()
        training = Training(task, mesh, compiler, checkpoints, interruption, profile)
        rollbacks = Rollbacks(workdir, checkpoints, config.run.not_finite)
        report = partial(
            Reporter,
            workdir,
            task.phases,
            log_every=config.run.log,
            terminal=terminal,
            board=board,
        )
        return train_with_rollbacks(training, rollbacks, report)


def train_with_rollbacks(
    training: "Training", rollbacks: Rollbacks, report: Callable[..., Reporter]
) -> bool:
    """Trains from the newest checkpoint, and again from there for each batch that is left out.

    Args:
        training: the run.
        rollbacks: its batches that are left out.
        report: makes the reporter of a start, given the number of steps done.

    Returns:
        Whether the run reached its end.
    """
    while True:
        state = training.restore_or_init()
        try:
            with report(step=int(state.step)) as reporter:
                return training.run(state, reporter, rollbacks.skipped)
        except finite.NotFiniteError as error:
            rollbacks.skip(error)


def check_data(task: Task, mesh: Mesh) -> None:
    """Makes the first batch of every phase, before anything is written.

    Raises:
        InputError: the data of a phase are missing, or do not fit.
    """
    for phase in task.phases:
        put(task.train_data(phase, *host_slice(mesh))[0], task.batch_spec, mesh)


def check_start(task: Task, workdir: Path) -> None:
    """Reads what a new run begins with, before anything is written; a run that goes on needs it no more.

    Raises:
        InputError: it is missing, or does not fit.
    """
    if not (workdir / CONFIG).exists():
        task.initial_params()


def open_board(workdir: Path, config: ml_collections.ConfigDict):
    """Where else to show the run, as a context manager."""
    if config.run.wandb and jax.process_index() == 0:
        return Board(workdir, config)
    return nullcontext()


@dataclass(frozen=True)
class Training:
    """A run under way, from any state on."""

    task: Task
    mesh: Mesh
    compiler: Compiler
    checkpoints: Checkpoints
    interruption: Interruption
    profile: Profile
    programs: dict[Phase, Programs] = field(default_factory=dict)

    def restore_or_init(self) -> State:
        """The newest sound checkpoint, or a fresh state."""
        with explained(self.task, self.task.phases[0]):
            state = self.checkpoints.restore(partial(runs.layout, self.task, self.mesh))
            return self.init_state() if state is None else state

    def init_state(self) -> State:
        """A fresh state of the first phase, with the networks that are given to it."""
        phase = self.task.phases[0]
        layout = rules.shardings(abstract_state(self.task, phase), self.mesh)

        # Frozen networks are read from their files once; from then on they are in the checkpoints.
        given = self.task.frozen_inputs()
        frozen = jax.device_put(given, {name: layout.extras[name] for name in given})

        def without_given(state: State) -> State:
            extras = {name: tree for name, tree in state.extras.items() if name not in given}
            return replace(state, extras=extras)

        # Nothing is drawn for them, nor compiled.
        init = Program(
            "the first state",
            lambda key: without_given(self.task.init_state(phase, key)),
            self.compiler,
            out_shardings=without_given(layout),
            compiler_options=QUICK,
        )
        state = init(jax.random.key(self.task.config.seed))

        # So are trained weights to begin with; modules that they lack stay as they are.
        trained, told = self.task.initial_params()
        params = dict(state.params)
        for group, modules in trained.items():
            places = {name: layout.params[group][name] for name in modules}
            params[group] = params[group] | jax.device_put(modules, places)
        if told:
            self.compiler.say(told)
        return replace(state, params=params, extras=state.extras | frozen)

    def run(self, state: State, reporter: Reporter, skipped: Sequence[int]) -> bool:
        """Trains to the last step, or to an interruption.

        Args:
            state: to begin with.
            reporter: that tells of the steps.
            skipped: numbers of the batches that are left out, ascending.

        Returns:
            Whether it was the last step.
        """
        reporter.begin()
        for phase in self.task.phases:
            # When asked to stop, do not compile another phase.
            if int(state.step) < phase.stop and not self.interruption.stopping:
                with explained(self.task, phase):
                    state = self.run_phase(phase, state, reporter, skipped)
        with self.compiler.clock("checkpoint"):
            self.checkpoints.wait()
        return reporter.end(int(state.step), self.compiler.clock.seconds(), self.task.corrupt)

    def run_phase(
        self, phase: Phase, state: State, reporter: Reporter, skipped: Sequence[int]
    ) -> State:
        """Makes the steps of a phase that are left, or those up to an interruption."""
        state, held_out = self.begin_phase(phase, state)
        clock, step = self.compiler.clock, int(state.step)
        data = self.task.train_data(phase, *host_slice(self.mesh))
        iterator = addresses.iterate(data, step, phase.stop, skipped=skipped)
        with iterator as batches, clock("step"), closing(self.profile):
            while step < phase.stop:
                try:
                    with clock("data"):
                        batch = next(batches)
                except InputError:
                    self.save_on_data_failure(state, reporter)
                    raise
                state = self.make_step(phase, step, state, batch, reporter)
                step += 1
                stopping = self.interruption.after(step)
                self.evaluate_and_save(phase, step, state, held_out, reporter, stopping)
                if stopping:
                    break
        return state

    def begin_phase(self, phase: Phase, state: State) -> tuple[State, HeldOut]:
        """The state with which to go on in a phase, and the phase's held-out data."""
        if phase not in self.programs:
            self.programs[phase] = programs_of(self.task, phase, self.mesh, self.compiler)
        programs = self.programs[phase]
        if int(state.step) == phase.start > 0:
            state = programs.enter(state)

        # Before the first step, so that what is wrong with held-out data comes early.
        held_out = HeldOut(self.task, phase, self.mesh, programs)
        held_out.check_best(self.task.config.run.best, state)
        return state, held_out

    def make_step(
        self, phase: Phase, step: int, state: State, host_batch: Batch, reporter: Reporter
    ) -> State:
        """Makes the step after `step` steps; what it measured is read when the next one is under way."""
        train_step = self.programs[phase].steps[self.task.step_name(phase, step)]
        batch = put(host_batch, self.task.batch_spec, self.mesh)
        self.profile.before(step + 1, state)
        # A transfer that nobody asked for would make the device wait for the host.
        with jax.transfer_guard("disallow"):
            state, metrics, good = train_step(state, batch)
            check = partial(finite.check, step + 1, host_batch, metrics, state, good)
            reporter.train(step + 1, phase, metrics, check)
        self.profile.after(step + 1, state)
        return state

    def evaluate_and_save(
        self,
        phase: Phase,
        step: int,
        state: State,
        held_out: HeldOut,
        reporter: Reporter,
        stopping: bool,
    ) -> None:
        """Does what is due after a step; at the end of a phase everything is, before a stop only the checkpoint."""
        every, last = self.task.config.run, step == phase.stop
        evaluating = last or step % every.preview == 0
        saving = last or stopping or step % every.checkpoint == 0
        if evaluating or saving:
            # Reads the last step's values: no row is lost, and no diverged state saved.
            reporter.flush()
        scores = {}
        if evaluating:
            scores = self.evaluate(step, state, held_out, reporter)
        if saving:
            with self.compiler.clock("checkpoint"):
                self.checkpoints.save(state, merit(every.best, phase, scores))

    def evaluate(
        self, step: int, state: State, held_out: HeldOut, reporter: Reporter
    ) -> dict[str, float]:
        """Reports scores of held-out data and a preview."""
        with self.compiler.clock("evaluation"):
            scores = held_out.scores(state)
            images = held_out.images(state) if held_out.preview else None
            return reporter.evaluation(step, scores, held_out.preview, images)

    def save_on_data_failure(self, state: State, reporter: Reporter) -> None:
        """Saves what has been learned; several processes cannot, for the others do not know of the failure."""
        reporter.flush()
        if jax.process_count() == 1:
            self.checkpoints.save(state)
            self.checkpoints.wait()
            reporter.message(f"Saved at step {int(state.step):,}.")


def merit(best: str, phase: Phase, scores: Mapping[str, float]) -> tuple[float, float] | None:
    """How good a checkpoint is, by `config.run.best`: a later phase is better, then a higher score, or a lower one.

    Returns:
        Two numbers to compare one after the other; None if the score is not known.
    """
    name = best.removeprefix("-")
    if name not in scores:
        return None
    sign = -1 if best.startswith("-") else 1
    return phase.start, sign * scores[name]
