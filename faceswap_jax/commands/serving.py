"""Commands that serve models to others."""

from pathlib import Path

from absl import flags

from faceswap_jax.commands.base import ANY_NUMBER, Command
from faceswap_jax.errors import InputError

EXTRAS = {
    "fastapi": "serving",
    "grpc": "serving",
    "grpc_health": "serving",
    "multipart": "serving",
    "opentelemetry": "serving",
    "prometheus_client": "serving",
    "uvicorn": "serving",
    "ray": "ray",
}
"""Which extra has a library."""


class Serve(Command):
    """Serve models over HTTP: pictures at once, clips as jobs."""

    name = "serve"
    usage = "[NAME=]DIR... [--host HOST] [--port PORT] [--keys FILE] [--ray_workers MIN:MAX]"
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
        meaning = "Seconds in which pictures and tensors must be done, the waiting included."
        flags.DEFINE_float("deadline", 30, meaning, 0, None, values)
        meaning = (
            "Faces of several requests that go through a model together; 1 if each goes alone."
        )
        flags.DEFINE_integer("together", 8, meaning, 1, 8, values)

        # What is admitted
        limit = flags.DEFINE_float
        limit("picture_mib", 32, "Largest request with pictures, MiB.", 0, None, values)
        limit("clip_mib", 512, "Largest request with a clip, MiB.", 0, None, values)
        limit("megapixels", 16, "Largest frame, million pixels.", 0, None, values)
        limit("seconds", 600, "Longest clip.", 0, None, values)
        limit("memory_gib", 6, "Memory for frames of all requests at once, GiB.", 0, None, values)
        limit("keep_minutes", 60, "For how long results of clips are kept.", 0, None, values)

        # Past one machine
        meaning = (
            "Work on a Ray cluster, the one that RAY_ADDRESS names: with so many workers, or, as MIN:MAX, with as many "
            "as there is work for. By default in this process."
        )
        flags.DEFINE_string("ray_workers", None, meaning, values)
        flags.DEFINE_float("ray_cpus", 1, "CPU cores of each worker.", 0, None, values)
        flags.DEFINE_float("ray_gpus", 0, "GPUs of each worker.", 0, None, values)

    def run(self, values, inputs):
        try:
            serve = _on_ray if values.ray_workers else _in_this_process
            serve(values, inputs)
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise InputError(
                f"'{error.name}' is not installed; install this project with its extra '{extra}'."
            ) from error


class Triton(Command):
    """Lay the ONNX of artifacts out as a model repository for NVIDIA's Triton."""

    name = "triton"
    usage = "[NAME=]ARTIFACT... --output DIR"
    inputs = (1, ANY_NUMBER)
    required = ("output",)

    def define(self, values, arguments):
        meaning = "Folder to write, which is not there yet."
        flags.DEFINE_string("output", None, meaning, values)

    def run(self, values, inputs):
        from faceswap_jax.artifacts.models import named
        from faceswap_jax.artifacts.triton import write_repository

        write_repository(named(inputs), Path(values.output))


def workers(text: str) -> tuple[int, int]:
    """How many workers there are at least and at most, from a text such as 2 or 1:4.

    Raises:
        InputError: it is written otherwise.
    """
    fewest, _, most = text.partition(":")
    if not (fewest.isdecimal() and (most or fewest).isdecimal()):
        raise InputError(f"--ray_workers is '{text}'; write a number, or two such as 1:4.")
    return int(fewest), int(most or fewest)


def _in_this_process(values, inputs):
    from faceswap_jax.serving.server import serve

    limits = _limits(values)
    serve(inputs, values.host, values.port, _keys(values), values.grpc_port, limits, values.grace)


def _on_ray(values, inputs):
    fewest, most = workers(values.ray_workers)
    if values.grpc_port is not None:
        raise InputError("On a Ray cluster there is no gRPC; leave out --grpc_port.")
    from faceswap_jax.serving.ray_application import Arguments
    from faceswap_jax.serving.ray_server import serve_on_ray

    arguments = Arguments(
        models=inputs,
        keys=_keys(values),
        # Unless others can reach it, which is looked at there
        anybody=values.keys is None,
        workers=(fewest, most),
        cpus=values.ray_cpus,
        gpus=values.ray_gpus,
        limits=_limits(values),
    )
    serve_on_ray(arguments, values.host, values.port, values.grace)


def _keys(values) -> Path | None:
    return Path(values.keys) if values.keys else None


def _limits(values):
    from faceswap_jax.serving.limits import Limits

    return Limits(
        picture_bytes=int(values.picture_mib * 2**20),
        clip_bytes=int(values.clip_mib * 2**20),
        pixels=int(values.megapixels * 1e6),
        seconds=values.seconds,
        together=values.together,
        picture_seconds=values.deadline,
        memory=int(values.memory_gib * 2**30),
        result_seconds=60 * values.keep_minutes,
    )
