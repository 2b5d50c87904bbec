"""The door of a whole server: who sends too much waits, and nobody else does."""

import threading
from contextlib import closing
from hashlib import sha256

import httpx
import pytest

from deltareg.api.overload.traffic import is_login, traffic_of
from deltareg.client import Client
from deltareg.errors import RateLimited
from deltareg.service.access.tokens import mint_secret
from tests.fixtures.registries import running

BAD, BY_PRINCIPAL = 5, 12


@pytest.fixture(scope="module")
def strict(sqlite_template, tmp_path_factory):
    """Serve with small limits, behind a proxy, so that a header says whose address it is."""
    folder = tmp_path_factory.mktemp("strict")
    database = folder / "registry.db"
    database.write_bytes(sqlite_template.read_bytes())
    limits = {
        "requests_per_minute": 4 * BY_PRINCIPAL,
        "bad_tokens_per_minute": BAD,
        "proxies": 1,
        "document_bytes": 2 << 20,
        "anonymous_reading": True,
    }
    with running(f"sqlite:///{database}", (folder / "blobs").as_uri(), folder, **limits) as server:
        yield server


HTTP = httpx.Client(timeout=30)


def ask(server, address, token=None, path="/whoami", **more):
    headers = {"X-Forwarded-For": f"6.6.6.6, {address}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return HTTP.request(more.pop("method", "GET"), f"{server.url}/api/v1{path}", headers=headers, **more)


def test_bad_tokens_are_refused_and_those_who_share_the_address_go_on(strict):
    known, fresh = strict.token("read"), strict.token("read", principal="bo")
    assert ask(strict, "1.1.1.1", known).status_code == 200

    statuses = [ask(strict, "1.1.1.1", mint_secret("pat")).status_code for _ in range(BAD + 20)]
    refused = ask(strict, "1.1.1.1", mint_secret("pat"))

    assert statuses == [401] * BAD + [429] * 20
    assert refused.json()["code"] == "rate_limited"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Policy"] == f'"bad-tokens";q={BAD};w=60'
    assert refused.headers["RateLimit"].startswith('"bad-tokens";r=0;t=')
    assert ask(strict, "1.1.1.1", known).status_code == 200
    assert ask(strict, "1.1.1.1", fresh).status_code == 200  # never seen before, and live
    assert ask(strict, "1.1.1.2", mint_secret("pat")).status_code == 401  # another address


def test_logins_that_fail_are_bad_tokens_too(strict):
    def log_in():
        headers = {"X-Forwarded-For": "2.2.2.2", "Sec-Fetch-Site": "same-origin"}
        return HTTP.post(f"{strict.url}/ui/login", data={"token": "drg_pat_x"}, headers=headers).status_code

    statuses = [log_in() for _ in range(BAD + 3)]

    assert statuses == [401] * BAD + [429] * 3


def test_a_principal_counts_once_for_all_its_tokens(strict):
    one, other = strict.token("read", principal="many"), strict.token("read", principal="many")
    answers = [ask(strict, f"3.3.3.{n % 200}", (one, other)[n % 2]) for n in range(4 * BY_PRINCIPAL + 10)]

    refused = [answer for answer in answers if answer.status_code == 429]
    assert 8 <= len(refused) <= 10  # the first of each token is not known yet
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(answer.headers["RateLimit"] for answer in answers[30:])
    assert ask(strict, "3.3.3.3", strict.token("read", principal="else")).status_code == 200


def test_an_address_counts_without_a_token(strict):
    statuses = [ask(strict, "4.4.4.4", path="/namespaces").status_code for _ in range(BY_PRINCIPAL + 5)]

    assert (set(statuses[:BY_PRINCIPAL]), set(statuses[BY_PRINCIPAL:])) == ({401}, {429})
    assert HTTP.get(strict.url + "/livez", headers={"X-Forwarded-For": "4.4.4.4"}).status_code == 200
    assert "RateLimit" not in HTTP.get(strict.url + "/readyz").headers


def test_whoever_looks_at_pages_too_fast_is_told_by_a_page(strict):
    def look(path, **headers):
        return HTTP.get(strict.url + path, headers={"X-Forwarded-For": "4.4.4.5", **headers})

    statuses = [look("/ui/login").status_code for _ in range(BY_PRINCIPAL)]
    page, data = look("/ui/login"), look("/ui/deltas", Accept="application/json")

    assert set(statuses) == {200}
    assert (page.status_code, data.status_code) == (429, 429)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "this address sent more than 12 requests within a minute" in page.text
    assert 'href="/ui/login"' in page.text
    assert 1 <= int(page.headers["Retry-After"]) <= 60
    assert page.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert data.json()["code"] == "rate_limited"
    assert data.headers["Retry-After"]
    assert look("/uix/y/resolve/main/x").headers["Content-Type"] == "application/problem+json"


def test_the_client_waits_as_it_is_told_and_then_says_why(strict):
    token = strict.token("read", principal="eager")
    for _ in range(4 * BY_PRINCIPAL + 2):
        ask(strict, "5.5.5.5", token)
    slept: list[float] = []

    def sleep(seconds):
        slept.append(seconds)

    with Client(strict._config(token, retries=2)) as client:
        client._api._patience._sleep = sleep
        with pytest.raises(RateLimited, match="sent more than 48 requests within a minute") as refused:
            client.whoami()

    assert refused.value.exit_code == 75
    assert len(slept) == 2
    assert all(1 <= seconds <= 40 for seconds in slept)


def test_a_document_with_more_parts_than_any_is_refused_before_it_is_parsed(strict):
    token = strict.token("read", "push", principal="big")
    for parts in ("{}," * 500_000, "1," * 900_000, '{"a":1},' * 200_000):
        body = '{"subject":"delta","target":"a/b","manifest":"x","labels":[' + parts + "1]}"
        answer = ask(strict, "7.7.7.7", token, "/uploads", method="POST", content=body)
        typed = HTTP.post(
            f"{strict.url}/api/v1/uploads",
            content=body,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        assert answer.status_code == 422
        assert "more than any of ours" in typed.json()["detail"]


def test_a_document_that_is_too_long_is_told_the_limit(strict):
    token = strict.token("read", "push", principal="big")

    answer = ask(strict, "7.7.7.8", token, "/uploads", method="POST", content=b"x" * ((2 << 20) + 1))

    assert answer.status_code == 413
    assert str(2 << 20) in answer.json()["detail"]


def test_another_uploads_beside_packs_that_do_not_end(local_registry):
    local_registry.line("lora")
    uploads = {}
    for name in ("mallory", "ada"):
        http = local_registry.http(local_registry.token("read", "push", principal=name))
        manifest = http.get("/deltas/team/lora/versions/1/manifest").text
        asked = {"subject": "delta", "target": f"{name}/x", "manifest": manifest, "base": "tinyllama"}
        uploads[name] = (http, http.post("/uploads", json=asked).json()["id"])
    http, upload = uploads["mallory"]
    ended = threading.Event()

    def endless():
        yield b"x"
        ended.wait(30)

    def hang(number):
        headers = {"X-Content-Digest": f"sha256:{'0' * 64}"}
        local_registry.http(http.headers["Authorization"].partition(" ")[2]).put(
            f"/uploads/{upload}/packs/{number}", content=endless(), headers=headers
        )

    threads = [threading.Thread(target=hang, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    try:
        bodies = local_registry.app.state.server.bodies
        while bodies.free != 16:
            ended.wait(0.01)
        other, its = uploads["ada"]
        headers = {"X-Content-Digest": f"sha256:{sha256(b'abc').hexdigest()}"}
        answer = other.put(f"/uploads/{its}/packs/0", content=b"abc", headers=headers, timeout=60)
    finally:
        ended.set()
        for thread in threads:
            thread.join()

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "traffic"),
    [
        ("GET", "/livez", "health"),
        ("GET", "/metrics", "health"),
        ("GET", "/api/v1/resolve", "first"),
        ("POST", "/api/v1/leases", "first"),
        ("GET", "/api/v1/events/stream", "first"),
        ("PUT", "/api/v1/uploads/a/packs/1", "first"),
        ("GET", "/team/lora/resolve/main/a.json", "first"),
        ("POST", "/api/v1/uploads", "change"),
        ("GET", "/api/v1/deltas/team/lora/versions/1", "change"),
        ("GET", "/api/v1/deltas/team/lora/versions/1/storage", "change"),
        ("GET", "/api/v1/blobs/sha256:a", "change"),
        ("GET", "/api/v1/deltas", "list"),
        ("GET", "/api/v1/deltas/team", "list"),
        ("GET", "/api/v1/audit", "list"),
        ("GET", "/api/v1/stats/storage", "list"),
        ("GET", "/ui/deltas/team/lora", "list"),
        ("GET", "/ui/static/a.css", "change"),
        ("POST", "/ui/deltas/team/lora/promote", "change"),
    ],
)
def test_requests_have_their_class(method, path, traffic):
    assert traffic_of(method, path, b"") == traffic
    assert traffic_of("GET", "/api/v1/runs/x", b"wait=30") == "first"
    assert is_login("POST", "/ui/login")
    assert not is_login("GET", "/ui/login")


def test_health_is_answered_while_every_thread_and_connection_is_in_use(local_registry):
    engine = local_registry.registry.engine
    held = [engine.connect() for _ in range(engine.pool.size() + engine.pool._max_overflow)]
    try:
        with closing(httpx.Client(base_url=local_registry.url, timeout=3)) as http:
            assert [http.get(path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200] * 3
    finally:
        for connection in held:
            connection.close()
