"""What is told before a request is read: who asks, how much may come, how slowly."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceswap_jax.serving.refusal import (
    BUSY,
    TOO_LARGE,
    TOO_SLOW,
    WRONG_KIND,
    Refusal,
)
from faceswap_jax.serving.service import Service

OPEN = frozenset(
    {"/live", "/ready", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json"}
)
"""Paths that need no key: they tell nothing of models and clients."""


TENSORS = "/v2/"
"""Paths of the Open Inference Protocol begin so."""


class Door:
    """Stands before the application: the framework would read a request before it asks who sends it."""

    def __init__(self, app: ASGIApp, service: Service):
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counts what is answered, and traces it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        headers = Headers(scope=scope)
        method = scope["method"]
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        with self._service.traces.request(method, headers) as span:
            try:
                await self._admit(scope, headers, receive, watched)
            finally:
                # Not the path, of which there is no end
                route = getattr(scope.get("route"), "path", "other")
                span.update_name(f"{method} {route}")
                span.set_attribute("http.response.status_code", status)
                seconds = time.monotonic() - began
                self._service.metrics.answered(method, route, status, seconds)

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        """Lets a request in, or refuses it."""
        try:
            owner = ""
            if scope["path"] not in OPEN:
                owner = self._service.keys.owner(headers.get("authorization"))
            scope.setdefault("state", {})["owner"] = owner
            if scope["method"] != "POST":
                await self._app(scope, receive, send)
                return

            most = self._most(scope["path"])
            self._check(scope["path"], headers, most)
            # Or much would be read and parsed that is then refused.
            if not scope["path"].endswith("/clips"):
                self._service.waiting.check(owner)
            with self._service.uploads.place(owner):
                await self._app(scope, self._guarded(receive, most), send)
        except Refusal as refusal:
            await refusal.response(scope["path"], closes=True)(scope, receive, send)

    def _most(self, path: str) -> int:
        """Bytes that a request may have."""
        limits = self._service.limits
        return limits.clip_bytes if path.endswith("/clips") else limits.picture_bytes

    def _check(self, path: str, headers: Headers, most: int) -> None:
        """Raises Refusal for what the head of a request tells."""
        if self._service.draining:
            raise Refusal(BUSY, "The server is about to stop; ask another one.", 5)
        if int(headers.get("content-length", 0)) > most:
            raise _too_large(most)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if path.startswith(TENSORS):
            if kind not in ("application/json", "application/octet-stream"):
                raise Refusal(WRONG_KIND, "Send tensors as application/json.")
        elif kind != "multipart/form-data":
            raise Refusal(WRONG_KIND, "Send a form with files, multipart/form-data.")

    def _guarded(self, receive: Receive, most: int) -> Receive:
        """The same, until too much comes or too slowly."""
        limits = self._service.limits
        began = time.monotonic()
        size = 0
        complete = False

        async def guarded() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()
            # Whoever sends a byte now and then would have a place for minutes.
            due = min(limits.upload_seconds, limits.patience + size / limits.slowest)
            left = min(limits.patience, began + due - time.monotonic())
            try:
                message = await asyncio.wait_for(receive(), left)
            except TimeoutError as error:
                raise Refusal(TOO_SLOW, "The request came too slowly; send it again.") from error
            size += len(message.get("body", b""))
            if size > most:
                raise _too_large(most)
            complete = not message.get("more_body", False)
            return message

        return guarded


def _too_large(most: int) -> Refusal:
    return Refusal(TOO_LARGE, f"A request may have {most / 2**20:g} MiB; send a smaller file.")
