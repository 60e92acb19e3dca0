"""TPUs and GPUs to compile for: which topologies there are, and devices that execute nothing.

Their compilers run on any CPU: libtpu, and JAX's plug-in for CUDA.
"""

import importlib.util
import os
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from faceswap_jax.errors import InputError

_SQUARES = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16")

SHAPES = {
    "v5e": _SQUARES,
    "v5p": (*_CUBES, "8x16x16", "16x16x16", "16x16x24"),
    "v6e": _SQUARES,
    "h100": ("1", "2", "4", "8", "2x8", "4x8", "8x8", "16x8"),
}
"""Chips along each side, by generation, as Google's documentation of Cloud TPU has them; GPUs of one host, or hosts and
the GPUs of each."""

GPUS = {
    "h100": """
        platform_name: "CUDA"
        device_description_str: "NVIDIA H100 80GB HBM3"
        dnn_version_info { major: 9 minor: 8 }
        runtime_version { major: 12 minor: 8 }
        gpu_device_info {
          cuda_compute_capability { major: 9 }
          core_count: 132
          fpus_per_core: 128
          clock_rate_ghz: 1.98
          device_memory_size: 84929347584
          memory_bandwidth: 3352320000000
          l2_cache_size: 52428800
          threads_per_warp: 32
          threads_per_block_limit: 1024
          threads_per_core_limit: 2048
          registers_per_block_limit: 65536
          registers_per_core_limit: 65536
          shared_memory_per_block: 49152
          shared_memory_per_block_optin: 232448
          shared_memory_per_core: 233472
          block_dim_limit_x: 2147483647
          block_dim_limit_y: 65535
          block_dim_limit_z: 65535
        }
    """,
}
"""What XLA's compiler for CUDA has to know of a GPU, by the names of its GpuTargetConfigProto; as CUDA tells it."""

ENVIRONMENT = {
    # Nobody asks the metadata server of a cloud for this machine's TPUs.
    "TPU_SKIP_MDS_QUERY": "1",
    # Nothing is executed, so a program that holds this machine's TPUs is no obstacle.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # Else it warns that it does not know them.
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}
"""What libtpu reads when it is loaded."""


def devices_of(name: str) -> Sequence[jax.Device]:
    """The devices of a topology; programs can be compiled for them.

    Args:
        name: generation and chips along each side, e.g. "v5e:4x4"; GPUs, e.g. "h100:8", or on two hosts "h100:2x8".

    Raises:
        InputError: there is no such topology, or its compiler is missing or cannot be used.
    """
    generation, _, shape = name.partition(":")
    if shape not in SHAPES.get(generation, ()):
        known = "; ".join(f"{one}:{', '.join(shapes)}" for one, shapes in SHAPES.items())
        raise InputError(f"There is no topology '{name}'; give one such as v5e:4x4, of {known}.")
    if generation in GPUS:
        return _gpus(name, GPUS[generation], shape)
    if not os.environ.get("TPU_LIBRARY_PATH") and importlib.util.find_spec("libtpu") is None:
        raise InputError(
            "--topology needs libtpu, the compiler for TPUs, which is not installed; install the extra `tpu` "
            "(pip install 'faceswap-jax[tpu]'), or give --devices for simulated CPU devices."
        )
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        return topologies.get_topology_desc(name, "tpu").devices
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--topology {name}: libtpu cannot be used ({reason}); if another program of this machine holds it, unset "
            "ALLOW_MULTIPLE_LIBTPU_LOAD or wait for its end, and otherwise install the extra `tpu` again."
        ) from error


def _gpus(name: str, target: str, shape: str) -> Sequence[jax.Device]:
    """GPUs; `shape` is their number, or that of the hosts and of the GPUs of each."""
    if importlib.util.find_spec("jax_cuda12_plugin") is None:
        raise InputError(
            f"--topology {name} needs JAX's plug-in for CUDA, which is not installed; install the extra `cuda` "
            "(pip install 'faceswap-jax[cuda]'), or give --devices for simulated CPU devices."
        )
    # Which tiles Triton's products take is found by trying them on a GPU; what is taken instead may not compile.
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_enable_triton_gemm=false"
    hosts, _, each = shape.rpartition("x")
    options = {"target_config": target, "topology": f"1x{hosts or 1}x{each}"}
    try:
        return topologies.get_topology_desc(platform="cuda", **options).devices
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--topology {name}: JAX's plug-in for CUDA cannot be used ({reason}); install the extra `cuda` again."
        ) from error
