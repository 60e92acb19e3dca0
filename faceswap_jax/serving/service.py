"""All that a server has: models, limits, keys, its folder, what it is working on."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from opentelemetry import context

from faceswap_jax.inference.generator import Generator
from faceswap_jax.serving import uploads
from faceswap_jax.serving.jobs import Job, Jobs
from faceswap_jax.serving.keys import Keys
from faceswap_jax.serving.limits import Limits, Memory, Places
from faceswap_jax.serving.metrics import Metrics
from faceswap_jax.serving.models import Model, Models
from faceswap_jax.serving.orders import Choices, Order, Watch, carry_out, check_who
from faceswap_jax.serving.refusal import UNUSABLE, Refusal
from faceswap_jax.serving.tensors import Tensor, infer
from faceswap_jax.serving.tracing import Traces
from faceswap_jax.serving.uploads import CLIPS, PICTURES, Clip

# What a clip is written as: as it came, if the sound that came with it fits there.
OUTPUTS = {".mp4": ".mp4", ".mov": ".mov", ".mkv": ".mkv", ".avi": ".mkv"}


@dataclass(frozen=True)
class Sent:
    """The files of a request.

    Attributes:
        source: picture or clip of the performer.
        pictures: of the person to show.
        landmarks: of the source, if somebody has tracked them.
    """

    source: BinaryIO
    pictures: Sequence[BinaryIO] = ()
    landmarks: BinaryIO | None = None


class Service:
    """A server without its sockets.

    Attributes:
        limits: what is admitted.
        keys: who may ask.
        models: by name.
        uploads: requests that are read or answered.
        jobs: clips.
        metrics: what is counted.
        traces: spans of requests.
        draining: whether nothing new is taken.
    """

    def __init__(
        self,
        generators: Mapping[str, Generator],
        folder: Path,
        limits: Limits | None = None,
        keys: Keys | None = None,
        traces: Traces | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Ready to work.

        Args:
            generators: by the names of their models.
            folder: for files of requests; see `workspace`.
            limits: what is admitted.
            keys: who may ask; anybody if not given.
            traces: spans of requests; none if not given.
            clock: seconds, for how long results are kept.
        """
        self.metrics = Metrics()
        self.traces = traces or Traces()
        self.limits = limits or Limits()
        self.models = Models(generators, self.metrics.batched, self.limits.together)
        self.keys = keys or Keys({})
        self.draining = False
        self._folder = folder

        limits = self.limits
        # Without keys all clients look like one.
        each = limits.uploads_each if self.keys.names else None
        jobs_each = limits.jobs_each if self.keys.names else None
        self.uploads = Places("requests", limits.uploads, each)
        self.waiting = Places("pictures", limits.pictures + limits.waiting_pictures)
        self.memory = Memory(limits.memory)
        self.jobs = Jobs(
            Places("jobs", limits.jobs, jobs_each), limits.clips, limits.result_seconds, clock
        )
        self.metrics.watch(self.uploads, self.waiting, self.memory, self.jobs)
        self._workers = ThreadPoolExecutor(limits.pictures, "picture")

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return self.uploads.taken == 0 and self.jobs.settled

    async def picture(self, owner: str, model: str, sent: Sent, choices: Choices) -> Path:
        """The result of a picture, in a folder of its own that the caller removes.

        Raises:
            Refusal: it is not served.
        """
        version = self.models[model]
        deadline = time.monotonic() + self.limits.picture_seconds
        span = self._span("picture")

        def work() -> Path:
            folder = self._new_folder()
            try:
                with span():
                    order, clip = self._admit(version, folder, sent, choices, PICTURES)
                    self.carry_out(version, order, Watch(clip, deadline))
                return order.output
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

        with self.waiting.place(owner):
            return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    async def clip(self, owner: str, model: str, sent: Sent, choices: Choices) -> Job:
        """A job for a clip.

        Raises:
            Refusal: it is not served.
        """
        version = self.models[model]

        span = self._span("clip")

        def start() -> Job:
            folder = self._new_folder()
            try:
                order, clip = self._admit(version, folder, sent, choices, CLIPS)
                self.memory.check(clip.pixels, clip.deep)

                def work(watch: Watch) -> None:
                    with span():
                        self.carry_out(version, order, watch, waits=True)

                job = Job(owner, folder, order.output, Watch(clip))
                self.jobs.start(job, work)
                return job
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

        return await asyncio.to_thread(start)

    async def tensors(self, owner: str, model: str, given: Mapping[str, Tensor | str]) -> Tensor:
        """Images for tensors of faces, see `tensors.infer`.

        Raises:
            Refusal: it is not served.
        """
        version = self.models[model]
        deadline = time.monotonic() + self.limits.picture_seconds
        span = self._span("tensors")

        def work() -> Tensor:
            with span():
                return self.infer(version, given, deadline)

        with self.waiting.place(owner):
            return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    def carry_out(self, version: Model, order: Order, watch: Watch, waits: bool = False) -> None:
        """Writes the result of an order, in this thread.

        Args:
            version: of the model.
            order: that was admitted.
            watch: sees how far it is.
            waits: until there is memory for its frames.

        Raises:
            Refusal: it is not served.
            Stopped: nobody wants it any more.
        """
        clip = watch.clip
        with version.order() as pool, self.memory.room(clip.pixels, waits, clip.deep):
            carry_out(pool.for_order(watch.deadline), order, watch)

    def infer(
        self, version: Model, given: Mapping[str, Tensor | str], deadline: float | None
    ) -> Tensor:
        """As `tensors`, in this thread, by a deadline on the clock of `time.monotonic`."""
        with version.order() as pool:
            return infer(pool.for_order(deadline), given)

    def close(self) -> None:
        """Stops all work."""
        self._workers.shutdown(cancel_futures=True)
        self.jobs.close()
        self.models.close()
        self.traces.close()

    def _span(self, name: str) -> Callable[[], AbstractContextManager]:
        """Begins a span below the one of this moment, in whichever thread it is called."""
        above = context.get_current()
        return lambda: self.traces.tracer.start_as_current_span(name, above)

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder))

    def _admit(
        self,
        version: Model,
        folder: Path,
        sent: Sent,
        choices: Choices,
        kinds: Mapping[str, str],
    ) -> tuple[Order, Clip]:
        """Stores what was sent, and looks at it without decoding it; raises Refusal."""
        source = uploads.store(sent.source, folder, "source", kinds)
        clip = uploads.look(source, self.limits)
        if sent.landmarks:
            uploads.store_landmarks(sent.landmarks, source, clip.frames)

        # Pictures of the person to show are decoded one after the other.
        pictures = []
        for number, file in enumerate(sent.pictures):
            picture = uploads.store(file, folder, f"picture {number}", PICTURES)
            pictures.append(picture)
            self.memory.check(uploads.look(picture, self.limits).pixels)
        if choices.persona is not None and len(choices.persona) > 1000:
            raise Refusal(UNUSABLE, "The persona has more than 1000 characters; give its name.")

        output = folder / f"result{OUTPUTS.get(source.suffix, source.suffix)}"
        order = Order(folder, source, pictures, output, choices)
        check_who(version.generator, order)
        return order, clip
