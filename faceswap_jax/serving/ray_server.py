"""`faceswap serve --ray_workers`: the application of `ray_application.py`, signals, and its end."""

import logging
import queue
import signal
import sys
import time

import ray
from ray import serve

from faceswap_jax.errors import InputError
from faceswap_jax.serving.ray_application import Arguments, application
from faceswap_jax.serving.server import check_open, listen

NAME = "faceswap"
"""Of the application, for `serve status`."""

LOOKS = 0.5
"""Seconds after which it is looked again whether all is done."""


def serve_on_ray(arguments: Arguments, host: str, port: int, grace: float) -> None:
    """Serves models on the cluster that RAY_ADDRESS names, or on one of this machine, until a signal comes.

    SIGTERM drains, and SIGHUP loads new versions, as those of `server.serve` do.

    Args:
        arguments: what is served.
        host: name or address to listen at, on each node.
        port: there; 0 for any that is free here.
        grace: seconds for what is on its way.

    Raises:
        InputError: any of these cannot be used, or there is no such cluster.
    """
    with listen(host, port) as listening:
        check_open(listening, arguments.keys is not None)
        port = listening.getsockname()[1]
    first = application(arguments)
    _connect()
    serve.start(http_options={"host": host, "port": port})
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: signals.put(number))
    try:
        front = serve.run(first, name=NAME)
        _say(f"Serving at http://{host}:{port}; /docs explains.")
        while (number := signals.get()) == signal.SIGHUP:
            _reload(arguments)
        if number == signal.SIGTERM:
            _drain(front, signals, time.monotonic() + grace)
    finally:
        serve.delete(NAME)
        ray.shutdown()


def _connect() -> None:
    """Joins a cluster, or starts one."""
    try:
        ray.init(include_dashboard=False, logging_level=logging.WARNING)
    except Exception as error:  # of any kind
        raise InputError(
            f"No Ray cluster can be used ({error}); set RAY_ADDRESS, or unset it for this machine."
        ) from error


def _reload(arguments: Arguments) -> None:
    """Serves what lies in the folders now; as it was if that cannot be used, which is told."""
    try:
        serve.run(application(arguments), name=NAME)
    except InputError as error:
        _say(f"All stays as it was: {error}")


def _drain(front: serve.handle.DeploymentHandle, signals: queue.SimpleQueue, end: float) -> None:
    """Takes nothing new, and waits for what is on its way, or for another signal."""
    while time.monotonic() < end and signals.empty():
        if front.drain.remote().result():
            break
        time.sleep(LOOKS)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
