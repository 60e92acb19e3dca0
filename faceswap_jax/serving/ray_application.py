"""The server on a Ray cluster: one front takes requests in, and workers, of any number, do what they ask for.

The front is the application of `faceswap serve`. It keeps what must be kept in one place: who may ask, how much is
taken in, and the jobs. It has no networks. A worker has the models, and a server's own code to use them.
"""

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve
from ray.exceptions import NodeDiedError, RayActorError, RayTaskError, WorkerCrashedError
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from faceswap_jax.artifacts.manifest import Artifact
from faceswap_jax.artifacts.models import load, named
from faceswap_jax.artifacts.runtime import ArtifactGenerator
from faceswap_jax.errors import InputError
from faceswap_jax.serving.app import build
from faceswap_jax.serving.keys import Keys, read_keys
from faceswap_jax.serving.limits import Limits
from faceswap_jax.serving.models import Model, Models
from faceswap_jax.serving.orders import Order, Watch
from faceswap_jax.serving.refusal import BUSY, Refusal
from faceswap_jax.serving.server import CONNECTIONS, reload
from faceswap_jax.serving.service import Service
from faceswap_jax.serving.tensors import Tensor
from faceswap_jax.serving.tracing import Traces
from faceswap_jax.serving.uploads import Clip
from faceswap_jax.serving.workspace import workspace

LAST_CLIP = 3600
"""Seconds in which a worker that is not needed any more must have done its clip."""

TELLS = 0.5
"""Seconds after which a worker says again how far it is."""

PART = 4 << 20
"""Bytes of a result that are sent together."""

QUIET = {"enable_access_log": False}
"""For Ray: the numbers of jobs stand in addresses."""


class Arguments(BaseModel):
    """What is served; also the `args` of an application in a file for `serve deploy`.

    Attributes:
        models: artifacts, each perhaps with a name before it, NAME=FOLDER, where all nodes find them.
        keys: file of API keys; see `keys.read_keys`. It is read once, and not by the nodes.
        anybody: whether no keys are needed.
        workers: how many there are at least, and at most.
        cpus: of a worker.
        gpus: of a worker.
        limits: what is admitted; memory, and what is worked on at once, are those of one worker.
    """

    models: list[str]
    keys: Path | None = None
    anybody: bool = False
    workers: tuple[int, int] = (1, 1)
    cpus: float = 1
    gpus: float = 0
    limits: Limits = Limits()


def application(arguments: Arguments) -> Application:
    """What Ray Serve runs.

    Raises:
        InputError: the artifacts or the keys cannot be used.
    """
    fewest, most = arguments.workers
    if not 1 <= fewest <= most:
        raise InputError(f"There cannot be {fewest} to {most} workers; give numbers such as 1:4.")
    known = read_keys(arguments.keys)
    if not known.names and not arguments.anybody:
        raise InputError("Give a file of keys, or say 'anybody: true' if nobody needs one.")
    folders = {name: folder.resolve() for name, folder in named(arguments.models).items()}

    # Where nothing else has changed, Ray tells what runs of it, and starts nothing anew.
    versions = {name: Artifact.load(folder).version for name, folder in folders.items()}
    limits = arguments.limits
    worker = Worker.options(
        ray_actor_options={"num_cpus": arguments.cpus, "num_gpus": arguments.gpus},
        autoscaling_config={"min_replicas": fewest, "max_replicas": most},
        max_ongoing_requests=limits.pictures + limits.clips,
        user_config=versions,
    ).bind(folders, limits)
    together = dataclasses.replace(
        limits,
        pictures=limits.pictures * most,
        waiting_pictures=limits.waiting_pictures * most,
        clips=limits.clips * most,
    )
    return Front.options(user_config=versions).bind(worker, folders, known, together)


@serve.deployment(graceful_shutdown_timeout_s=LAST_CLIP, logging_config=QUIET)
class Worker:
    """Has the models, and does what the front asks for."""

    def __init__(self, folders: Mapping[str, Path], limits: Limits):
        """Loads and compiles them."""
        self._ends = contextlib.ExitStack()
        self._folders = folders
        self._folder = self._ends.enter_context(workspace())
        generators = {name: load(folder) for name, folder in folders.items()}
        self._service = Service(generators, self._folder, limits)
        self._ends.callback(self._service.close)
        self._service.models.warm_up()
        self._threads = ThreadPoolExecutor(limits.pictures + limits.clips, "work")

    async def reconfigure(self, versions: Mapping[str, str]) -> None:
        """Loads newer versions."""
        await asyncio.to_thread(reload, self._service.models, self._folders)

    async def carry_out(
        self,
        model: str,
        order: Order,
        files: Mapping[str, bytes],
        clip: Clip,
        left: float | None,
        waits: bool,
    ) -> AsyncIterator[int | bytes]:
        """How many frames are done, now and then, and in the end the parts of the result.

        Args:
            model: that is wanted.
            order: in a folder of the front.
            files: of that folder, by name.
            clip: what was admitted.
            left: seconds for it; None for no end.
            waits: until there is memory for the frames.

        Raises:
            Refusal: it is not served.
        """
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        order = order.within(folder)
        watch = Watch(clip, _until(left))

        def work() -> None:
            for name, content in files.items():
                (folder / name).write_bytes(content)
            self._service.carry_out(self._service.models[model], order, watch, waits)

        working = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            while not (await asyncio.wait([working], timeout=TELLS))[0]:
                yield watch.done
            await working
            with order.output.open("rb") as result:
                while part := result.read(PART):
                    yield part
        finally:
            # It may be that nobody wants it any more.
            watch.stop()
            await asyncio.wait([working])
            shutil.rmtree(folder, ignore_errors=True)

    async def infer(
        self, model: str, given: Mapping[str, Tensor | str], left: float | None
    ) -> Tensor:
        """See `Service.infer`; `left` are the seconds for it."""
        version = self._service.models[model]
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._service.infer, version, given, _until(left)
        )

    def __del__(self):
        """Ends."""
        self._ends.close()


@serve.deployment(
    max_ongoing_requests=CONNECTIONS, ray_actor_options={"num_cpus": 0}, logging_config=QUIET
)
@serve.ingress()
class Front:
    """Takes requests in. There is one of it."""

    def __init__(
        self, worker: DeploymentHandle, folders: Mapping[str, Path], keys: Keys, limits: Limits
    ):
        """Ready to answer."""
        self._folders = folders
        self._service = SpreadService(worker, folders, keys, limits)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """What Ray lets answer."""
        return build(self._service)

    def reconfigure(self, versions: Mapping[str, str]) -> None:
        """Tells of newer versions from now on."""
        tell(self._service.models, self._folders, versions)

    def check_health(self) -> None:
        """Asked by Ray now and then: a moment to forget what was kept long enough."""
        self._service.jobs.sweep()

    def drain(self) -> bool:
        """Takes nothing new from now on; whether nobody waits for anything."""
        self._service.draining = True
        return self._service.idle


class SpreadService(Service):
    """A service whose work is done by workers."""

    def __init__(
        self, worker: DeploymentHandle, folders: Mapping[str, Path], keys: Keys, limits: Limits
    ):
        """Ready to work.

        Args:
            worker: any of them.
            folders: of artifacts, by the names of the models.
            keys: who may ask.
            limits: what is admitted, and how much of it all workers together work on at once.
        """
        self._worker = worker
        self._follows = worker.options(stream=True)
        self._ends = contextlib.ExitStack()
        models = {name: _absent(folder) for name, folder in folders.items()}
        folder = self._ends.enter_context(workspace())
        super().__init__(models, folder, limits, keys, Traces.from_environment())

    def carry_out(self, version: Model, order: Order, watch: Watch, waits: bool = False) -> None:
        """See `Service.carry_out`."""
        files = {path.name: path.read_bytes() for path in order.folder.iterdir()}
        left = _left(watch.deadline)
        with _as_raised():
            answers = self._follows.carry_out.remote(
                version.name, order, files, watch.clip, left, waits
            )
            try:
                _store(answers, order.output, watch)
            except BaseException:
                answers.cancel()
                raise

    def infer(
        self, version: Model, given: Mapping[str, Tensor | str], deadline: float | None
    ) -> Tensor:
        """See `Service.infer`."""
        with _as_raised():
            return self._worker.infer.remote(version.name, given, _left(deadline)).result()

    def close(self) -> None:
        """Stops all work."""
        super().close()
        self._ends.close()


def tell(models: Models, folders: Mapping[str, Path], versions: Mapping[str, str]) -> None:
    """Lets a front tell of these versions, which workers have."""
    for name, version in versions.items():
        if version != models[name].generator.version:
            models.replace(name, _absent(folders[name]), compiles=False)


def _absent(folder: Path) -> ArtifactGenerator:
    """What an artifact says of itself, without its networks."""

    def run(name, arrays):
        raise NotImplementedError("The front makes no images.")

    return ArtifactGenerator(Artifact.load(folder), run)


def _store(answers: Iterator[int | bytes], output: Path, watch: Watch) -> None:
    """Stores what a worker has made, and tells how far it is; raises Refusal or Stopped."""
    with output.open("wb") as result:
        for answer in answers:
            watch.check()
            if isinstance(answer, bytes):
                result.write(answer)
            else:
                watch.done = answer


@contextlib.contextmanager
def _as_raised() -> Iterator[None]:
    """Raises what a worker has raised."""
    try:
        yield
    except RayTaskError as error:
        raise error.cause from error
    except (RayActorError, WorkerCrashedError, NodeDiedError) as error:
        raise Refusal(BUSY, "A worker was lost; send it again.", 1) from error


def _left(deadline: float | None) -> float | None:
    """Seconds until then: clocks of machines begin when they like."""
    return None if deadline is None else deadline - time.monotonic()


def _until(left: float | None) -> float | None:
    """When these seconds will be over."""
    return None if left is None else time.monotonic() + left
