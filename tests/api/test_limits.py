"""What the server does not even begin to read: large bodies, bodies without length, other hosts."""

import json
import socket
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from deltareg.client.folders.base_folder import open_base
from deltareg.digest import sha256_of
from deltareg.wire import UploadInfo, UploadOpen
from tests.fixtures.registries import SAMPLES, SCOPES

ZERO = f"sha256:{'0' * 64}"


@pytest.fixture
def token(shared_registry):
    return shared_registry.token(*SCOPES)


def speak(server, head, body=b""):
    """Send bytes as they are and give status and problem of the answer."""
    url = urlsplit(server.url)
    with closing(socket.create_connection((url.hostname, url.port), timeout=10)) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        answer = lines = rest = b""
        while chunk := connection.recv(65536):
            answer += chunk
            lines, gap, rest = answer.partition(b"\r\n\r\n")
            if gap and json_or_none(rest) is not None:
                break
    status = int(lines.split()[1])
    return status, json_or_none(rest)


def json_or_none(raw):
    try:
        return json.loads(raw)
    except ValueError:
        return None


def head(token, method, path, *lines, host="127.0.0.1"):
    return "\n".join(
        [
            f"{method} /api/v1{path} HTTP/1.1",
            f"Host: {host}",
            f"Authorization: Bearer {token}",
            "Content-Type: application/json",
            *lines,
        ]
    )


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/runs", 1 << 20),
        ("/runs/x:finish", 1 << 20),
        ("/runs/x:replace", 48 << 20),
        ("/uploads", 48 << 20),
        ("/uploads/x:complete", 48 << 20),
    ],
)
def test_a_body_that_is_too_large_is_refused_before_it_comes(shared_registry, token, path, limit):
    status, problem = speak(shared_registry, head(token, "POST", path, f"Content-Length: {limit + 1}"))

    assert (status, problem["code"]) == (413, "invalid_input")
    assert problem["status"] == 413
    assert str(limit) in problem["detail"]


def test_a_large_body_of_nobodys_is_not_read(shared_registry):
    for token in ("", "drg_pat_x", "a" * 60):
        status, problem = speak(shared_registry, head(token, "POST", "/uploads", f"Content-Length: {40 << 20}"))
        assert (status, problem["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("more", [[], ["Content-Length: 2"], ["Content-Length: 999999999"]])
@pytest.mark.parametrize("path", ["/runs", "/uploads", "/uploads/x:complete", "/leases"])
def test_a_body_of_unknown_length_is_refused(shared_registry, token, path, more):
    lines = [*more, "Transfer-Encoding: chunked"]

    status, problem = speak(shared_registry, head(token, "POST", path, *lines))

    assert status in {400, 413}
    assert problem is None or problem["code"] == "invalid_input"


def test_a_pack_may_come_in_chunks(shared_registry, token):
    lines = ["Transfer-Encoding: chunked", f"X-Content-Digest: {ZERO}"]

    status, problem = speak(shared_registry, head(token, "PUT", "/uploads/x/packs/0", *lines), b"1\r\na\r\n0\r\n\r\n")

    assert (status, problem["code"]) == (404, "not_found")


def test_a_pack_that_announces_too_much_is_refused(shared_registry, token):
    lines = [f"Content-Length: {(64 << 20) + 1}", f"X-Content-Digest: {ZERO}"]

    status, problem = speak(shared_registry, head(token, "PUT", "/uploads/x/packs/0", *lines))

    assert (status, problem["code"]) == (507, "quota")


def test_a_pack_without_a_digest_is_refused(shared_registry, token):
    http = shared_registry.http(token)

    for header in ({}, {"X-Content-Digest": "x"}, {"X-Content-Digest": f"blake3:{'0' * 64}"}):
        answer = http.put("/uploads/x/packs/0", content=b"a", headers=header)
        assert answer.status_code == 422


def test_a_pack_that_is_not_what_its_digest_says_is_not_kept(local_registry):
    client = local_registry.line()
    upload = opened(client)
    before = list(local_registry.registry.store.keys("blobs/"))
    http = local_registry.http(client.config.token)

    answer = http.put(f"/uploads/{upload}/packs/0", content=b"abc", headers={"X-Content-Digest": ZERO})
    right = http.put(f"/uploads/{upload}/packs/0", content=b"abc", headers={"X-Content-Digest": str(sha256_of(b"abc"))})

    assert (answer.status_code, answer.json()["code"]) == (422, "digest")
    assert right.status_code == 200
    assert len(list(local_registry.registry.store.keys("blobs/"))) == len(before) + 1


def opened(client):
    """Open an upload by hand and give its id."""
    with open_base(SAMPLES / "bases" / "tinygpt2", client.cache) as base:
        request = UploadOpen(subject="base", target="byhand", manifest=base.manifest.encode().decode())
    return client._api.post("/uploads", request, UploadInfo).id


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "evil.example:80", "[::2]", "0.0.0.0"])
def test_a_request_for_another_host_is_refused(shared_registry, token, host):
    status, problem = speak(shared_registry, head(token, "GET", "/whoami", host=host))

    assert (status, problem["code"]) == (400, "invalid_input")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "[::1]", "[::1]:8642", "127.0.0.1:1"])
def test_a_request_for_this_machine_is_answered(shared_registry, token, host):
    status, who = speak(shared_registry, head(token, "GET", "/whoami", host=host))

    assert (status, who["principal"]) == (200, "ada")


def test_names_made_up_by_strangers_do_not_fill_the_metrics(shared_registry):
    http = shared_registry.http()
    for number in range(20):
        http.request(f"M{number}", f"{shared_registry.url}/api/v1/bases")
        http.get(f"{shared_registry.url}/nowhere/{number}")

    lines = http.get(f"{shared_registry.url}/metrics").text.splitlines()

    assert not [line for line in lines if "M1" in line or "nowhere" in line]


@pytest.mark.parametrize("labels", [{str(n): "x" for n in range(65)}, {"a" * 257: "x"}, {"a": "x" * 257}])
def test_labels_are_few_and_short(shared_registry, token, labels):
    http = shared_registry.http(token)
    manifest = http.get("/deltas/team/lora/versions/1/manifest").text
    body = {"subject": "delta", "target": "team/x", "manifest": manifest, "labels": labels}

    answer = http.post("/uploads", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
