"""Numbers for Prometheus."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from faceswap_jax.serving.jobs import Jobs, State
from faceswap_jax.serving.limits import Memory, Places


class Metrics:
    """What is counted of one server."""

    def __init__(self):
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "faceswap_answers",
            "Requests that were answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "faceswap_answer_seconds",
            "From the head of a request to the end of its answer.",
            ("method", "route"),
            registry=self._registry,
        )
        self._faces = Histogram(
            "faceswap_batch_faces",
            "Faces that went through a model together.",
            ("model",),
            buckets=(1, 2, 4, 8),
            registry=self._registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts an answer."""
        self._answers.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def batched(self, model: str, faces: int) -> None:
        """Counts a batch."""
        self._faces.labels(model).observe(faces)

    def watch(self, uploads: Places, pictures: Places, memory: Memory, jobs: Jobs) -> None:
        """Also tells what there is at the moment when somebody asks."""
        self._registry.register(_Now(uploads, pictures, memory, jobs))

    def text(self) -> bytes:
        """All, as Prometheus reads it."""
        return generate_latest(self._registry)


class _Now(Collector):
    """How full the server is."""

    def __init__(self, uploads: Places, pictures: Places, memory: Memory, jobs: Jobs):
        self._uploads = uploads
        self._pictures = pictures
        self._memory = memory
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        """The numbers of this moment."""
        for name, told, value in (
            ("requests", "Requests that are read or answered.", self._uploads.taken),
            ("pictures", "Pictures that wait or are worked on.", self._pictures.taken),
            ("memory_bytes", "Memory that frames take, as admitted.", self._memory.taken),
        ):
            yield GaugeMetricFamily(f"faceswap_{name}", told, value)
        jobs = GaugeMetricFamily(
            "faceswap_jobs", "Clips by what becomes of them.", labels=["state"]
        )
        for state in State:
            jobs.add_metric([state], self._jobs.count(state))
        yield jobs
