"""A server with a socket, in a thread."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from faceswap_jax.serving import server
from faceswap_jax.serving.service import Service


@contextmanager
def online(service: Service) -> Iterator[tuple[server.Server, str]]:
    """The server of a service, and its address."""
    with server.listen("127.0.0.1", 0) as listening:
        started = server.Server(server.config_of(service), service, grace=600)
        thread = threading.Thread(target=started.run, kwargs={"sockets": [listening]})
        thread.start()
        while not started.started and thread.is_alive():
            time.sleep(0.01)
        yield started, f"http://127.0.0.1:{listening.getsockname()[1]}"
        started.should_exit = True
        thread.join(60)
    assert not thread.is_alive()
