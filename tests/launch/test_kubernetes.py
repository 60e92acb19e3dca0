"""The manifest of the server for Kubernetes: Kubernetes' fields, the command's flags, the server's routes."""

import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from faceswap_jax.commands import COMMANDS
from faceswap_jax.commands.base import parse
from faceswap_jax.errors import InputError
from faceswap_jax.serving import app, door
from faceswap_jax.serving.keys import read_keys
from faceswap_jax.serving.limits import Limits
from faceswap_jax.serving.server import LAST_SECONDS
from tests.support.cluster import ROOT

MANIFEST = ROOT / "launch/kubernetes/serve.yaml"


@pytest.fixture(scope="module")
def documents() -> dict[str, dict]:
    """By their kinds."""
    text = MANIFEST.read_text().replace("IMAGE", "registry/faceswap:1")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@pytest.fixture
def pod(documents) -> dict:
    return documents["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture
def container(pod) -> dict:
    (container,) = pod["containers"]
    return container


def served(container):
    """What the command reads of its arguments."""
    name, *arguments = container["args"]
    assert name == "serve"
    return parse(COMMANDS[name], arguments)


def test_kubernetes_knows_every_field(documents):
    schema = json.loads((Path(__file__).parent / "serve.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert len(documents) == 3
    for document in documents.values():
        validator.validate(document)
    misspelt = json.loads(
        json.dumps(documents["Deployment"]).replace("readOnlyRoot", "readonlyRoot")
    )
    assert not validator.is_valid(misspelt)


def test_the_parts_find_each_other(documents, container):
    deployment, service = documents["Deployment"], documents["Service"]["spec"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["selector"] == labels
    target = documents["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    # It scales by a part of what is asked for.
    assert "cpu" in container["resources"]["requests"]
    (port,), (offered,) = container["ports"], service["ports"]
    assert offered["targetPort"] == port["name"]
    assert served(container)[0].port == port["containerPort"]


def test_probes_ask_what_the_server_answers_without_a_key(container):
    routes = {route.path for route in app.router.routes}
    for kind, path in {"startup": "/ready", "readiness": "/ready", "liveness": "/live"}.items():
        asked = container[f"{kind}Probe"]["httpGet"]
        assert asked == {"path": path, "port": container["ports"][0]["name"]}
        assert path in routes and path in door.OPEN


def test_it_is_killed_after_it_has_drained(pod, container):
    values, _ = served(container)
    wait, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert wait == "sleep"
    needed = int(seconds) + values.grace + LAST_SECONDS
    assert pod["terminationGracePeriodSeconds"] > needed


def test_clients_stay_with_their_jobs_as_long_as_results_are_kept(documents):
    service = documents["Service"]["spec"]
    assert service["sessionAffinity"] == "ClientIP"
    kept = service["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
    assert kept >= Limits().result_seconds


def test_it_writes_only_where_it_may(pod, container):
    values, (folder,) = served(container)
    assert values.host == "0.0.0.0"
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
    assert writable == {"/tmp", "/home/faceswap"}
    for path in writable:
        assert "emptyDir" in volumes[mounts[path]["name"]]
    assert "persistentVolumeClaim" in volumes[mounts[str(Path(folder).parent)]["name"]]
    for one in [*pod["initContainers"], container]:
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert {mount["name"] for mount in one["volumeMounts"]} <= set(volumes)

    # The image's user, by its number
    made = (ROOT / "launch/container/Containerfile").read_text()
    user = pod["securityContext"]["runAsUser"]
    assert (
        re.search(rf"^USER {user}$", made, re.MULTILINE) and pod["securityContext"]["runAsNonRoot"]
    )


def test_keys_of_a_secret_are_made_private(pod, container, tmp_path):
    """A secret is mounted for the group of the pod, whatever its mode; `install` is run here as there."""
    (init,) = pod["initContainers"]
    program, *flags, source, target = init["command"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in init["volumeMounts"]}
    assert "secret" in mounts[str(Path(source).parent)]
    assert mounts[str(Path(target).parent)]["emptyDir"]["medium"] == "Memory"
    values, _ = served(container)
    assert values.keys == target

    mounted, private = tmp_path / "mounted", tmp_path / "private"
    mounted.write_text("studio 0123456789abcdef0123456789\n")
    mounted.chmod(0o440)
    with pytest.raises(InputError, match="by others"):
        read_keys(mounted)
    for _ in range(2):  # A container may start again.
        subprocess.run([program, *flags, mounted, private], check=True)
    assert list(read_keys(private).names.values()) == ["studio"]


def test_its_head_tells_names_that_it_uses():
    text = MANIFEST.read_text()
    (secret,) = re.findall(r"secret generic (\S+) --from-file=keys", text)
    assert f"secretName: {secret}" in text and "sed 's|IMAGE|" in text
