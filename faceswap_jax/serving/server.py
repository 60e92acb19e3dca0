"""`faceswap serve`: a socket, signals, and the end of a server."""

import asyncio
import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from faceswap_jax.artifacts.models import load, named
from faceswap_jax.errors import InputError
from faceswap_jax.serving.app import build
from faceswap_jax.serving.keys import read_keys
from faceswap_jax.serving.limits import Limits
from faceswap_jax.serving.models import Models
from faceswap_jax.serving.rpc import Rpc
from faceswap_jax.serving.service import Service
from faceswap_jax.serving.tracing import Traces
from faceswap_jax.serving.workspace import workspace

HEAD_SECONDS = 10
"""In which the head of a request must have come."""

CONNECTIONS = 512
"""Open at once."""

LAST_SECONDS = 10
"""For answers that are on their way when the server ends."""


def serve(
    artifacts: Sequence[str],
    host: str,
    port: int,
    keys: Path | None = None,
    rpc_port: int | None = None,
    limits: Limits | None = None,
    grace: float = 60,
) -> None:
    """Serves models until a signal comes.

    SIGTERM drains: nothing new is taken, what is on its way is finished and may be fetched, for `grace` seconds.
    SIGHUP loads new versions from the same folders; requests do not notice.

    Args:
        artifacts: folders, each perhaps with a name before it, NAME=FOLDER.
        host: name or address of this machine to listen at.
        port: 0 for any that is free.
        keys: file of API keys; see `keys.read_keys`.
        rpc_port: for gRPC; none if not given.
        limits: what is admitted.
        grace: seconds.

    Raises:
        InputError: any of these cannot be used.
    """
    known = read_keys(keys)
    folders = named(artifacts)
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(listen(host, port))
        check_open(listening, bool(known.names))
        if rpc_port is not None:
            # Whether it is free: gRPC would not say why not.
            listen(host, rpc_port, "--grpc_port").close()
        folder = stack.enter_context(workspace())
        generators = {name: load(path) for name, path in folders.items()}
        service = Service(generators, folder, limits, known, Traces.from_environment())
        service.models.warm_up()
        signal.signal(signal.SIGHUP, lambda *_: _in_thread(reload, service.models, folders))
        rpc_address = None if rpc_port is None else f"{_shown(listening)}:{rpc_port}"
        _tell(service, listening)
        Server(config_of(service), service, grace, rpc_address).run(sockets=[listening])


def reload(models: Models, folders: Mapping[str, Path]) -> None:
    """Serves what lies in the folders now. A model that cannot be loaded stays as it was, which is told."""
    for name, folder in folders.items():
        before = models[name].generator.version
        try:
            generator = load(folder)
            if generator.version == before:
                _print(f"{name} is unchanged, version {before}.")
                continue
            models.replace(name, generator)
            _print(f"{name} is version {generator.version} now.")
        # Whatever is wrong with the new one, the old one is served.
        except Exception as error:
            _print(f"{name} stays as it was, version {before}: {error}")


class Server(uvicorn.Server):
    """Drains at SIGTERM, and ends at a second one."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        grace: float,
        rpc_address: str | None = None,
    ):
        """Not started yet.

        Args:
            config: see `config_of`.
            service: that does the work.
            grace: seconds for what is on its way.
            rpc_address: host and port for gRPC; None for none.
        """
        super().__init__(config)
        self._rpc_address = rpc_address
        self._rpc: Rpc | None = None
        self._service = service
        self._grace = grace
        self._end = float("inf")

    def handle_exit(self, sig: int, frame) -> None:
        """Begins to drain."""
        if sig != signal.SIGTERM or self._service.draining:
            super().handle_exit(sig, frame)
            return
        self._service.draining = True
        self._end = time.monotonic() + self._grace

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to answer."""
        await super().startup(sockets)
        if self._rpc_address:
            self._rpc = Rpc(self._service, self._rpc_address)
            await self._rpc.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends."""
        if self._rpc:
            await self._rpc.stop(LAST_SECONDS)
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to end; called ten times a second."""
        self._service.jobs.sweep()
        if self._service.draining and self._rpc:
            await self._rpc.drain()
        drained = self._service.draining and self._service.idle
        return await super().on_tick(counter) or drained or time.monotonic() > self._end


class Protocol(H11Protocol):
    """Closes connections that ask nothing: whoever sends one byte now and then would keep one for ever."""

    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begins to wait for the head of a request."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Waits on, unless there is a request now."""
        super().data_received(data)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        super().connection_lost(exc)
        if self._impatience:
            self._impatience.cancel()

    def _expect_head(self) -> None:
        waits = self.cycle is None or self.cycle.response_complete
        if not waits and self._impatience:
            self._impatience.cancel()
            self._impatience = None
        if waits and self._impatience is None:
            self._impatience = self.loop.call_later(HEAD_SECONDS, self.transport.close)


def config_of(service: Service) -> uvicorn.Config:
    """How uvicorn serves a service."""
    return uvicorn.Config(
        build(service),
        loop="asyncio",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=LAST_SECONDS,
    )


def listen(host: str, port: int, flag: str = "--port") -> socket.socket:
    """A socket that others can reach from now on.

    Args:
        host: name or address of this machine.
        port: 0 for any that is free.
        flag: that gives the port.

    Raises:
        InputError: the port is taken, or there is no such address here.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=CONNECTIONS)
    except (OSError, OverflowError) as error:
        # What follows in brackets says the same again.
        reason = (getattr(error, "strerror", None) or str(error)).partition(" (")[0]
        raise InputError(
            f"Port {port} of {host} cannot be used ({reason}); choose another {flag} or --host."
        ) from error
    # asyncio sets it where it makes the socket. Without it, the end of an answer waits 40 ms for the client's receipt.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return listening


def check_open(listening: socket.socket, has_keys: bool) -> None:
    """Raises InputError if others than this machine can reach the server, and need no key."""
    host = listening.getsockname()[0]
    if not has_keys and not (host.startswith("127.") or host == "::1"):
        raise InputError(
            f"At {host} other machines reach the server; give a file of --keys, or serve 127.0.0.1."
        )


def _tell(service: Service, listening: socket.socket) -> None:
    """Says where the models are."""
    port = listening.getsockname()[1]
    names = ", ".join(model.name for model in service.models)
    _print(f"Serving {names} at http://{_shown(listening)}:{port}; /docs explains.")


def _shown(listening: socket.socket) -> str:
    """The host of a socket, as addresses have it."""
    host = listening.getsockname()[0]
    return f"[{host}]" if ":" in host else host


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _in_thread(function: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()
