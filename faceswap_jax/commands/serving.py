"""The command that serves models to others."""

from pathlib import Path

from absl import flags

from faceswap_jax.commands.base import ANY_NUMBER, Command
from faceswap_jax.errors import InputError

EXTRA = (
    "fastapi",
    "grpc",
    "grpc_health",
    "multipart",
    "opentelemetry",
    "prometheus_client",
    "uvicorn",
)
"""Libraries of the extra `serving`."""


class Serve(Command):
    """Serve models over HTTP: pictures at once, clips as jobs."""

    name = "serve"
    usage = "[NAME=]DIR... [--host HOST] [--port PORT] [--keys FILE]"
    inputs = (1, ANY_NUMBER)
    required = ("host",)

    def define(self, values, arguments):
        meaning = "Address of this machine to listen at; others than 127.0.0.1 need --keys."
        flags.DEFINE_string("host", "127.0.0.1", meaning, values)
        flags.DEFINE_integer("port", 8000, "Port; 0 for any that is free.", 0, 65535, values)
        meaning = "Port for gRPC, the Open Inference Protocol for tensors; none by default."
        flags.DEFINE_integer("grpc_port", None, meaning, 1, 65535, values)
        meaning = (
            "File of API keys, readable by you alone: a line of a name and a key for each client."
        )
        flags.DEFINE_string("keys", None, meaning, values)
        meaning = "Seconds for what is on its way when SIGTERM comes."
        flags.DEFINE_float("grace", 60, meaning, 0, None, values)

        # What is admitted
        limit = flags.DEFINE_float
        limit("picture_mib", 32, "Largest request with pictures, MiB.", 0, None, values)
        limit("clip_mib", 512, "Largest request with a clip, MiB.", 0, None, values)
        limit("megapixels", 16, "Largest frame, million pixels.", 0, None, values)
        limit("seconds", 600, "Longest clip.", 0, None, values)
        limit("memory_gib", 4, "Memory for frames of all requests at once, GiB.", 0, None, values)
        limit("keep_minutes", 60, "For how long results of clips are kept.", 0, None, values)

    def run(self, values, inputs):
        try:
            from faceswap_jax.serving.limits import Limits
            from faceswap_jax.serving.server import serve
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in EXTRA:
                raise
            raise InputError(
                f"'{error.name}' is not installed; install this project with its extra 'serving'."
            ) from error

        limits = Limits(
            picture_bytes=int(values.picture_mib * 2**20),
            clip_bytes=int(values.clip_mib * 2**20),
            pixels=int(values.megapixels * 1e6),
            seconds=values.seconds,
            memory=int(values.memory_gib * 2**30),
            result_seconds=60 * values.keep_minutes,
        )
        keys = Path(values.keys) if values.keys else None
        serve(inputs, values.host, values.port, keys, values.grpc_port, limits, values.grace)
