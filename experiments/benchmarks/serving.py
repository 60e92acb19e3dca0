"""A server under load and under attack: batches against none, ten times what it can do, and hostile uploads.

    faceswap export --workdir build/demo/run --output models/demo
    python -m experiments.benchmarks.serving --model models/demo [--seconds 2] [--turns 2]

Everything is on this machine: `faceswap serve` in processes of its own, and clients that share its cores.
Where other work runs, CPU seconds of the server say more than seconds on the wall. Three parts,
each of which --parts can choose:

    batches     clients that ask again as soon as they are answered, of two servers in turns: one lets requests share
                batches, the other one does not (--together 1)
    overload    requests that come whether or not others are answered, at ten times the rate that was reached before
    hostile     see hostile.py: what is refused, and what is left behind
"""

import asyncio
import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
from absl import app, flags

from experiments.benchmarks import hostile
from experiments.benchmarks.asking import Answer, Line, ask, request, told
from experiments.benchmarks.offers import MODEL, WAYS, Ask, Sent, as_message, clients, sent_to
from faceswap_jax.serving.limits import Limits
from faceswap_jax.serving.rpc import HEADS
from faceswap_jax.serving.rpc import NAME as SERVICE

PARTS = ("batches", "overload", "hostile")
FOLDER = flags.DEFINE_string("model", None, "Folder of an artifact or a run.", required=True)
CHOSEN = flags.DEFINE_list("parts", list(PARTS), "Which to do.")
SECONDS = flags.DEFINE_float("seconds", 2, "Of a turn, and a tenth of the overload.", 0)
TURNS = flags.DEFINE_integer("turns", 2, "Of each server with each number of clients.", 1)
DEADLINE = flags.DEFINE_float("deadline", 30, "Of `faceswap serve`, seconds.", 0)

CLIENTS = (1, 4, 16)
TIMES = 10
"""How much more is offered than can be done."""

PATIENCE = 600
"""Seconds for a server to start or to answer."""


class Server(NamedTuple):
    """A server that runs.

    Attributes:
        process: of it.
        port: for HTTP.
        rpc_port: for gRPC.
        folder: where its files of requests lie.
    """

    process: subprocess.Popen
    port: int
    rpc_port: int
    folder: Path

    def cpu(self) -> float:
        """Seconds that it has computed, with the processes that it waited for."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """MiB that it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def left(self) -> list[Path]:
        """Files of requests."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


@contextlib.contextmanager
def serving(*options: str) -> Iterator[Server]:
    """A server of the model, until it is stopped as an operator stops it."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        rpc_port = free.getsockname()[1]
        free.close()
        command = [sys.executable, "-m", "faceswap_jax.cli", "serve", f"{MODEL}={FOLDER.value}"]
        command += ["--port=0", f"--grpc_port={rpc_port}", "--grace=1", *options]
        command.append(f"--deadline={DEADLINE.value}")
        process = subprocess.Popen(
            command, env=os.environ | {"TMPDIR": folder}, stderr=subprocess.PIPE, text=True
        )
        try:
            for line in process.stderr:
                if found := re.search(r"at http://127.0.0.1:(\d+)", line):
                    break
            else:
                raise SystemExit("The server did not start.")
            # Its log is not read, and must not fill the pipe.
            log = threading.Thread(target=_log, args=(process.stderr,), daemon=True)
            log.start()
            yield Server(process, int(found[1]), rpc_port, Path(folder))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def _log(lines) -> None:
    for line in lines:
        print(f"  server: {line.rstrip()}", file=sys.stderr)


def main(_: Sequence[str]) -> None:
    """Does the chosen parts, and prints their tables as Markdown."""
    unknown = set(CHOSEN.value) - set(PARTS)
    if unknown:
        raise SystemExit(f"--parts has {sorted(unknown)}; choose of {', '.join(PARTS)}.")
    with tempfile.TemporaryDirectory() as scratch, serving() as server:
        sent = sent_to(server.port, Path(scratch))
        for way in WAYS:
            asyncio.run(greet(server, way, sent))
        if "batches" in CHOSEN.value:
            with serving("--together=1") as alone:
                compare({"alone": alone, "together": server}, sent)
        if "overload" in CHOSEN.value:
            overload(server, sent)
        if "hostile" in CHOSEN.value:
            attack(server, sent)


# Batches


class Turns(NamedTuple):
    """What clients of a server saw.

    Attributes:
        answers: all.
        wall: seconds on the wall.
        cpu: seconds that the server computed.
    """

    answers: list[Answer]
    wall: list[float]
    cpu: list[float]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.answers) / sum(self.wall)

    @property
    def cost(self) -> float:
        """CPU milliseconds of an answer."""
        return 1000 * sum(self.cpu) / len(self.answers)


def compare(servers: dict[str, Server], sent: Sent) -> None:
    """Prints how fast requests are answered, by servers in turns."""
    head = ["requests", "clients"]
    for name in servers:
        head += [f"{name}: a second", "p50 s", "p99 s", "CPU ms"]
    print_head([*head, "times as many", "CPU, times as little"])
    for way in WAYS:
        for count in CLIENTS:
            alone, together = in_turns(servers, way, sent, count)
            row = [way, str(count)]
            for turns in (alone, together):
                row += [f"{turns.rate:.1f}", *_percentiles(turns.answers), f"{turns.cost:.0f}"]
            times = (together.rate / alone.rate, alone.cost / together.cost)
            print_rows([*row, *(f"{value:.2f}" for value in times)])


def in_turns(servers: dict[str, Server], way: str, sent: Sent, count: int) -> list[Turns]:
    """What the clients of each server see."""
    seen = {name: Turns([], [], []) for name in servers}
    for _ in range(TURNS.value):
        for name, server in servers.items():
            took = asyncio.run(closed(server, way, sent, count))
            for all_, new in zip(seen[name], took, strict=True):
                all_.extend(new)
    return list(seen.values())


async def closed(server: Server, way: str, sent: Sent, count: int) -> Turns:
    """A turn of clients who ask again as soon as they are answered."""
    async with clients(way, sent, server.port, server.rpc_port, count) as asks:
        cpu, began = server.cpu(), time.perf_counter()
        lists = await asyncio.gather(*(_again(each, began + SECONDS.value) for each in asks))
        wall = time.perf_counter() - began
    return Turns(list(itertools.chain(*lists)), [wall], [server.cpu() - cpu])


async def _again(asks: Ask, end: float) -> list[Answer]:
    answers = []
    while not answers or time.perf_counter() < end:
        answers.append(await asks())
    return answers


def _percentiles(answers: Sequence[Answer]) -> list[str]:
    if not answers:
        return ["", ""]
    return [f"{value:.3f}" for value in np.percentile([a.seconds for a in answers], (50, 99))]


# Overload


def overload(server: Server, sent: Sent) -> None:
    """Prints what becomes of requests of which ten times as many come as can be answered."""
    limits = Limits()
    bounds = []
    head = ["requests", "can be done, a second", "came", "served", "p50 s", "p99 s"]
    head += ["refused at once", "p50 s", "p99 s", "refused late", "otherwise"]
    print_head([*head, "MiB before", "after", "MiB a minute"])
    for way in ("tensors, bytes", "picture"):
        capacity = asyncio.run(closed(server, way, sent, CLIENTS[-1])).rate
        answers, memory = asyncio.run(open_loop(server, WAYS[way](sent), TIMES * capacity))
        served = [answer for answer in answers if answer.status == 200]
        late = [answer for answer in answers if b"no time for this" in answer.body]
        refused = [a for a in answers if a.status == 503 and a not in late]
        others = len(answers) - len(served) - len(late) - len(refused)
        half = memory[len(memory) // 2 :]
        slope = 60 * np.polyfit(*zip(*half, strict=True), 1)[0]
        kinds = [f"{capacity:.1f}", str(len(answers))]
        for kind in (served, refused):
            kinds += [str(len(kind)), *_percentiles(kind)]
        grown = [f"{memory[0][1]:.0f}", f"{memory[-1][1]:.0f}", f"{slope:+.1f}"]
        print_rows([way, *kinds, str(len(late)), str(others), *grown])
        places = limits.pictures + limits.waiting_pictures
        bounds.append(
            f"{way}: {places} places / {capacity:.1f} a second = {places / capacity:.1f} s"
        )
    print(f"Bounds of those served, {DEADLINE.value:g} s at most:", "; ".join(bounds))


PERIOD = 0.25
"""Seconds between two looks at the memory."""


async def open_loop(
    server: Server, content: bytes, rate: float
) -> tuple[list[Answer], list[tuple[float, float]]]:
    """Answers to requests that come at a rate, each on a connection of its own; seconds and MiB of the server."""
    memory = [(0.0, server.memory())]
    asked = []
    began = time.perf_counter()
    while (now := time.perf_counter() - began) < TIMES * SECONDS.value:
        while len(asked) < now * rate:
            asked.append(asyncio.create_task(ask(server.port, content)))
        if len(memory) < now / PERIOD:
            memory.append((now, server.memory()))
        await asyncio.sleep(min(1 / rate, PERIOD))
    answers = await asyncio.gather(*asked)
    return answers, [*memory, (time.perf_counter() - began, server.memory())]


# Attack


def attack(server: Server, sent: Sent) -> None:
    """Prints what becomes of hostile uploads, and what they leave."""
    files, memory = set(server.left()), [server.memory()]
    uploads = hostile.uploads(sent)
    most = Limits().picture_bytes + HEADS
    messages = hostile.messages(as_message(sent), most)
    fates: dict[str, Counter[str]] = {upload.kind: Counter() for upload in uploads}
    fates |= {kind: Counter() for kind in messages}
    for _ in range(TURNS.value):
        for upload, fate in zip(uploads, asyncio.run(_send_all(server, uploads)), strict=True):
            fates[upload.kind][fate] += 1
        for kind, contents in messages.items():
            fates[kind].update(asyncio.run(_call_all(server, contents)))
        memory.append(server.memory())
        for way in WAYS:
            asyncio.run(greet(server, way, sent))
    print_head(["kind", "sent", "got in", "answers"])
    for kind, found in fates.items():
        told_ = ", ".join(f"{count} x {fate}" for fate, count in sorted(found.items()))
        got_in = sum(count for fate, count in found.items() if _got_in(fate))
        print_rows([kind, str(found.total()), str(got_in), told_])
    told_ = ", ".join(f"{value:.0f}" for value in memory)
    left = len(set(server.left()) - files)
    each = len(uploads) + sum(map(len, messages.values()))
    print(f"{TURNS.value} x {each} were sent. MiB before, and after each turn: {told_}.")
    print(f"Files left behind: {left}. Honest requests are answered.", flush=True)


def _got_in(fate: str) -> bool:
    return fate.startswith("2") and not fate.endswith("failed")


async def greet(server: Server, way: str, sent: Sent) -> None:
    """Asks once, as honest people do, which must work."""
    async with clients(way, sent, server.port, server.rpc_port, 1) as (asks,):
        answer = await asks()
    if answer.status != 200:
        raise SystemExit(f"{way} was answered {answer.status}: {answer.body[:200]!r}")


async def _send_all(server: Server, uploads: Sequence[hostile.Upload]) -> list[str]:
    """What becomes of each; slow ones do not wait for others."""
    few = asyncio.Semaphore(4)

    async def one(upload: hostile.Upload) -> str:
        async with contextlib.nullcontext() if len(upload.parts) > 1 else few:
            return await _fate(server, upload)

    return await asyncio.gather(*map(one, uploads))


async def _fate(server: Server, upload: hostile.Upload) -> str:
    """The status of the answer, and what becomes of a job."""
    line = Line(server.port)
    answer = await line.ask_slowly(upload.parts)
    line.close()
    if answer.status != 202:
        if answer.status in (0, 200) or answer.status >= 500:
            print(
                f"  {upload.kind}: {answer.status} {answer.body[:99]!r} {upload.parts[0][1][:99]!r}",
                file=sys.stderr,
            )
        return str(answer.status or "closed")
    place = answer.headers["location"]
    while (job := await told(server.port, place))["state"] in ("waiting", "running"):
        await asyncio.sleep(0.2)
    await ask(server.port, request(place, method="DELETE"))
    return f"202, {job['state']}"


async def _call_all(server: Server, contents: Sequence[bytes]) -> list[str]:
    """What gRPC answers to each message, plain and as gzip, which makes little of much."""
    found = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.rpc_port}") as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            for content in contents:
                try:
                    await call(content, compression=compression)
                    found.append("200")
                except grpc.aio.AioRpcError as error:
                    found.append(error.code().name)
    return found


def print_rows(*rows: Sequence[str]) -> None:
    """Prints rows of a table."""
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def print_head(head: Sequence[str]) -> None:
    """Begins a table."""
    print()
    print_rows(head, ["---"] * len(head))


if __name__ == "__main__":
    app.run(main)
