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

OPEN = frozenset({"/live", "/ready", "/docs", "/openapi.json"})
"""Paths that need no key: they tell nothing of models and clients."""


class Door:
    """Stands before the application: the framework would read a request before it asks who sends it."""

    def __init__(self, app: ASGIApp, service: Service):
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request in, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            owner = ""
            if scope["path"] not in OPEN:
                owner = self._service.keys.owner(headers.get("authorization"))
            scope.setdefault("state", {})["owner"] = owner
            if scope["method"] != "POST":
                await self._app(scope, receive, send)
                return

            most = self._most(scope["path"])
            self._check(headers, most)
            with self._service.uploads.place(owner):
                await self._app(scope, self._guarded(receive, most), send)
        except Refusal as refusal:
            await refusal.response(closes=True)(scope, receive, send)

    def _most(self, path: str) -> int:
        """Bytes that a request may have."""
        limits = self._service.limits
        return limits.clip_bytes if path.endswith("/clips") else limits.picture_bytes

    def _check(self, headers: Headers, most: int) -> None:
        """Raises Refusal for what the head of a request tells."""
        if self._service.draining:
            raise Refusal(BUSY, "The server is about to stop; ask another one.", 5)
        if int(headers.get("content-length", 0)) > most:
            raise _too_large(most)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            raise Refusal(WRONG_KIND, "Send a form with files, multipart/form-data.")

    def _guarded(self, receive: Receive, most: int) -> Receive:
        """The same, until too much comes or too slowly."""
        limits = self._service.limits
        end = time.monotonic() + limits.upload_seconds
        size = 0
        complete = False

        async def guarded() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()
            left = min(limits.patience, end - time.monotonic())
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
