"""Who may ask: keys, and what one key may have at once."""

import hashlib

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.serving.keys import Keys, read_keys
from faceswap_jax.serving.limits import Limits

ADA, BEN = "a" * 32, "b" * 32


def write(tmp_path, text, mode=0o600):
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(mode)
    return path


def bearer(key) -> dict:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def keys(tmp_path) -> Keys:
    return read_keys(write(tmp_path, f"# of the studio\nada {ADA}\n\nben  {BEN}\n"))


def test_keys_are_not_kept(keys):
    digests = {
        hashlib.sha256(key.encode()).digest(): name for key, name in ((ADA, "ada"), (BEN, "ben"))
    }
    assert keys.names == digests


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (f"ada {ADA}", 0o640, "chmod 600"),
        (f"ada {ADA}", 0o604, "chmod 600"),
        ("ada short", 0o600, "line 1: write a name"),
        (ADA, 0o600, "line 1: write a name"),
        (f"ada {ADA}\nben {ADA}", 0o600, "line 2: this key stands there twice"),
        ("# nobody", 0o600, "has no key"),
        ("", 0o600, "is empty"),
    ],
)
def test_files_that_are_refused(tmp_path, text, mode, said):
    with pytest.raises(InputError, match=said) as error:
        read_keys(write(tmp_path, text, mode))
    assert ADA not in str(error.value) and "short" not in str(error.value)


def test_only_keys_get_in_and_see_their_own_jobs(serve, keys, clip, landmarks):
    served = serve(keys=keys)
    client = served.client
    files = {"clip": clip, "landmarks": landmarks}
    for headers in ({}, bearer("c" * 32), {"Authorization": f"Basic {ADA}"}, bearer("")):
        for answer in (
            client.get("/models", headers=headers),
            client.post("/models/swaps/clips", files=files, headers=headers),
            client.get("/jobs/x", headers=headers),
        ):
            assert answer.status_code == 401 and "Bearer" in answer.json()["detail"]
            assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/live").status_code == client.get("/docs").status_code == 200
    assert served.left() == []

    persona = {"persona": "ada"}
    answer = client.post("/models/swaps/clips", files=files, data=persona, headers=bearer(ADA))
    place = answer.headers["location"]
    assert client.get(place, headers=bearer(ADA)).status_code == 200
    for call in (client.get, client.delete):
        assert call(place, headers=bearer(BEN)).status_code == 404
    assert client.get(f"{place}/result", headers=bearer(BEN)).status_code == 404


def test_a_key_has_its_share(serve, keys, clip, landmarks):
    client = serve(Limits(jobs_each=1), keys).client
    files = {"clip": clip, "landmarks": landmarks}

    def status(key) -> int:
        form = {"files": files, "data": {"persona": "ada"}, "headers": bearer(key)}
        return client.post("/models/swaps/clips", **form).status_code

    assert [status(ADA), status(ADA), status(BEN)] == [202, 429, 202]
