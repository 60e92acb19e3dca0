"""What clients see of requests that are not served: a status and one sentence."""

from fastapi import HTTPException
from fastapi.responses import JSONResponse

# HTTP's names for what is told here
NO_KEY = 401
UNKNOWN = 404
NOT_READY = 409
TOO_SLOW = 408
TOO_LARGE = 413
WRONG_KIND = 415
UNUSABLE = 422
TOO_MANY = 429
BUSY = 503


class Refusal(HTTPException):
    """A request that is not served; `detail` is the sentence."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None):
        """Says so.

        Args:
            status: of HTTP.
            sentence: what is wrong, and the remedy.
            retry_after: seconds after which asking again makes sense.
        """
        headers = {}
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        if status == NO_KEY:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, sentence, headers)

    def response(self, path: str, closes: bool = False) -> JSONResponse:
        """The answer to a request.

        Args:
            path: of the request: the Open Inference Protocol has a word of its own for what is wrong.
            closes: whether the connection is closed: the rest of the request is not read.
        """
        headers = {**self.headers, "Connection": "close"} if closes else self.headers
        name = "error" if path.startswith("/v2/") else "detail"
        return JSONResponse({name: self.detail}, self.status_code, headers)
