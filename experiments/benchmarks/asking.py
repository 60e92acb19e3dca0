"""HTTP as bytes, for benchmarks of the server: any request can be made, also one that no library would send."""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

BOUNDARY = b"a-part-ends-here"
FORM = f"multipart/form-data; boundary={BOUNDARY.decode()}"
JSON, BINARY = "application/json", "application/octet-stream"

LENGTH = "Inference_Header_Content_Length"
"""Header: how many bytes of a request are JSON."""


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: of HTTP; 0 if the connection was closed without an answer.
        headers: by their names in lower case.
        body: of the answer.
        seconds: from the first byte that was sent to the last one that came.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


def request(
    path: str, body: bytes = b"", kind: str = FORM, method: str = "POST", **headers: str
) -> bytes:
    """A request of any length.

    Args:
        path: of the address.
        body: of the request.
        kind: Content-Type.
        method: of HTTP.
        **headers: more of them, with _ for -.
    """
    all_ = {"Host": "127.0.0.1", "Content-Type": kind, "Content-Length": str(len(body))}
    all_ |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in all_.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin1") + body


def form(
    files: Sequence[tuple[str, str, bytes]] = (), fields: Mapping[str, str] | None = None
) -> bytes:
    """The body of a form.

    Args:
        files: field, file name and content of each.
        fields: texts by name.
    """
    parts = []
    for name, file, content in files:
        head = f'Content-Disposition: form-data; name="{name}"; filename="{file}"'
        parts.append(head.encode() + b"\r\n\r\n" + content)
    for name, text in (fields or {}).items():
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'.encode())
    line = b"--" + BOUNDARY
    return b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"


class Line:
    """A connection to the server that stays open, and is opened anew if it was closed."""

    def __init__(self, port: int):
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, content: bytes) -> Answer:
        """The answer to a request."""
        return await self.ask_slowly([(0, content)])

    async def ask_slowly(self, parts: Sequence[tuple[float, bytes]]) -> Answer:
        """The answer to a request that comes in parts, each after so many seconds."""
        began = time.perf_counter()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        # The server may answer before all has come.
        sending = asyncio.create_task(_send(writer, parts))
        try:
            status, headers, body = await _read(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            status, headers, body = 0, {}, b""
        sending.cancel()
        if status == 0 or headers.get("connection") == "close":
            self.close()
        return Answer(status, headers, body, time.perf_counter() - began)

    def close(self) -> None:
        """Ends the connection."""
        if self._streams:
            self._streams[1].close()
        self._streams = None


async def ask(port: int, content: bytes) -> Answer:
    """The answer to a request on a connection of its own."""
    line = Line(port)
    try:
        return await line.ask(content)
    finally:
        line.close()


async def told(port: int, path: str, method: str = "GET") -> Any:
    """The JSON of an address."""
    return json.loads((await ask(port, request(path, method=method))).body or b"null")


async def _send(writer: asyncio.StreamWriter, parts: Sequence[tuple[float, bytes]]) -> None:
    with contextlib.suppress(ConnectionError):
        for pause, content in parts:
            await asyncio.sleep(pause)
            writer.write(content)
            await writer.drain()


async def _read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin1").strip().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read() if headers.get("connection") == "close" else b""
    return int(first.split()[1]), headers, body
