"""What operators see of a server."""

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from faceswap_jax.serving.tracing import ENDPOINTS, Traces

PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


def lines(client) -> dict[str, float]:
    text = client.get("/metrics").text
    told = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in told}


def test_metrics(serve, picture, first_landmarks):
    client = serve().client
    files = {"picture": picture, "landmarks": first_landmarks}
    for persona in ({"persona": "ada"}, {}):
        client.post("/models/swaps/pictures", files=files, data=persona)
    client.get("/jobs/secret")
    told = lines(client)
    route = 'method="POST",route="/models/{model}/pictures"'
    assert told[f'faceswap_answers_total{{{route},status="200"}}'] == 1
    assert told[f'faceswap_answers_total{{{route},status="422"}}'] == 1
    assert told[f"faceswap_answer_seconds_count{{{route}}}"] == 2
    assert told['faceswap_batch_faces_count{model="swaps"}'] == 1
    assert told['faceswap_jobs{state="running"}'] == told["faceswap_memory_bytes"] == 0
    assert not [name for name in told if "secret" in name]


def test_traces(serve, picture, first_landmarks):
    exporter = InMemorySpanExporter()
    traces = Traces(exporter)
    client = serve(traces=traces).client
    files = {"picture": picture, "landmarks": first_landmarks}
    path = "/models/swaps/pictures"
    client.post(path, files=files, data={"persona": "ada"}, headers={"traceparent": PARENT})
    traces.close()
    work, request = exporter.get_finished_spans()
    assert request.name == "POST /models/{model}/pictures" and work.name == "picture"
    assert request.attributes["http.response.status_code"] == 200
    assert work.parent.span_id == request.context.span_id
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]


def test_traces_go_nowhere_unless_a_variable_says_where(monkeypatch):
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert not Traces.from_environment().tracer.start_span("x").is_recording()
