"""Every page: it is there, it is JSON as well, it escapes, and it asks little of the database."""

import re
from html.parser import HTMLParser

import pytest
from sqlalchemy import event

from tests.pages.conftest import browser, fill, word_of

LINE = "/ui/deltas/team/lora"
PROD = f"{LINE}/channels/prod"
MOST_STATEMENTS = 6
"""How many statements a page costs at most, the one that finds the session among them."""
PAGES = [
    "/ui/",
    "/ui/kept",
    "/ui/deltas",
    "/ui/deltas?q=lora&kind=lora&verdict=fail",
    LINE,
    f"{LINE}/v3",
    f"{LINE}/v2",
    f"{LINE}/v3/gate",
    f"{LINE}/v3/verdicts",
    f"{LINE}/v3/files",
    f"{LINE}/v2/lineage",
    f"{LINE}/diff",
    f"{LINE}/v1/card",
    f"{LINE}/diff?a=v1&b=v3&all=yes",
    PROD,
    f"{PROD}?at=2100-01-01",
    f"{LINE}/channels/dev",
    f"{PROD}/standing",
    f"{PROD}/rollback",
    f"{PROD}/promote",
    f"{PROD}/promote?version=v3",
    f"{PROD}/freeze",
    "/ui/requests",
    "/ui/requests?state=all",
    "/ui/requests/1",
    "/ui/runs",
    "/ui/runs?state=all",
    "/ui/tokens",
    "/ui/workers",
    "/ui/bases",
    "/ui/bases/tinyllama",
    "/ui/fleet",
    "/ui/fleet?of=team/lora@prod",
    "/ui/storage",
    "/ui/storage?of=team",
    "/ui/storage?of=team/lora",
    "/ui/access",
    "/ui/access?namespace=team",
    "/ui/audit",
    "/ui/sessions",
    "/ui/help",
    "/ui/lineage",
    f"{LINE}/diff/figures?a=v1&b=v2",
    f"{LINE}/ask?a=v1&b=v2",
    "/ui/lineage?at=team/lora&show=versions",
    "/ui/lineage?at=base:tinyllama&up=4",
    f"{LINE}/diff?a=v1&b=v2&c=v3",
    f"{LINE}/bisect",
    f"{LINE}/bisect?v1=good&v3=bad",
    f"{LINE}/bisect?v1=good&v2=good&v3=bad",
    f"{LINE}/metrics",
    f"{LINE}/v3/storage",
    "/ui/storage?of=team/lora:v3",
    "/ui/storage/plan",
    f"{PROD}/policy",
    "/ui/policy",
    "/ui/policy?namespace=team",
    "/ui/suites",
    "/ui/suites/smoke",
    "/ui/suites/-/new",
    "/ui/suites/smoke/edit",
    "/ui/explain/norm_ratio",
    "/ui/audit/check",
]
MORE = {
    # Of a line of any length no more is read than it shows: the numbers, and how many there are beside them.
    f"{LINE}/bisect": 7,
    f"{LINE}/bisect?v1=good&v3=bad": 7,
    f"{LINE}/bisect?v1=good&v2=good&v3=bad": 7,
    "/ui/audit/check": 14,
    "/ui/access?namespace=team": 7,
    "/ui/deltas/team/lora/v2": 8,
    "/ui/deltas/team/lora/v3": 8,
    "/ui/storage?of=team": 8,  # with its quota
    "/ui/runs": 12,  # who stands behind what waits, and behind each worker
}
"""Those for operators: all of the log is read."""
PATHS = sorted(PAGES)
EMPTY = [
    "/ui/",
    "/ui/deltas",
    "/ui/bases",
    "/ui/requests",
    "/ui/runs",
    "/ui/fleet",
    "/ui/workers",
    "/ui/storage",
    "/ui/access",
    "/ui/audit",
]
OWN_QUERIES = [
    "/ui/",
    "/ui/kept",
    LINE,
    "/ui/deltas?q=LO&kind=lora&base=tinyllama&namespace=team&verdict=pass&channel=prod",
    PROD,
    f"{PROD}?at=2100-01-01",
    "/ui/sessions",
    "/ui/audit?action=PROM&subject=Lora@",
    f"{LINE}/v1",
    f"{LINE}/v1/gate",
    f"{PROD}/promote?version=v1",
    f"{PROD}/rollback",
]
_WHOLE = {"br", "hr", "img", "input", "link", "meta", "wbr", "use", "path", "circle", "rect"}


class Checked(HTMLParser):
    """Holds markup against what it has to be: nested, with unique ids and labelled fields."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.labels, self.fields = [], [], [], []
        self.tags = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "label" and "for" in found:
            self.labels.append(found["for"])
        is_field = tag in {"input", "select", "textarea"} and found.get("type") != "hidden"
        if is_field and not {"label", "aria-label"} & {*self.open, *found}:
            self.fields.append(found.get("id"))
        if tag not in _WHOLE:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in _WHOLE:
            assert self.open.pop() == tag


@pytest.fixture
def counted(desk):
    """Count the statements that SQLite itself runs, prepared ones and all."""
    found = []

    def note(statement):
        if statement.split(" ", 1)[0] in {"SELECT", "WITH", "INSERT", "UPDATE", "DELETE"}:
            found.append(statement)

    def listen(connection, *_rest):
        connection.set_trace_callback(note)

    event.listen(desk.registry.engine, "checkout", listen)
    yield found
    event.remove(desk.registry.engine, "checkout", listen)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_whole_and_asks_little(pages, counted, path):
    pages.get(path)
    counted.clear()

    answer = pages.get(path)
    page = Checked()
    page.feed(answer.text)

    assert answer.status_code == 200, answer.text
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert set(page.fields) <= set(page.labels)
    assert sum(tag == "h1" for tag, _ in page.tags) == 1
    assert len(counted) <= MORE.get(path, MOST_STATEMENTS), "\n\n".join(counted)


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_json_as_well(pages, path):
    twin = pages.get(
        path, params={"format": "json"} if "?" not in path else None, headers={"Accept": "application/json"}
    )

    assert twin.headers["Content-Type"] == "application/json"
    assert isinstance(twin.json(), dict)


@pytest.mark.parametrize(
    ("asked", "leads"),
    [
        ("team/lora", LINE),
        ("team/lora:v2", f"{LINE}/v2"),
        ("team/lora@prod", PROD),
        ("team/lora@prod~1", f"{LINE}/v1"),
        ("lora", "/ui/deltas?q=lora"),
        ("lora v2", f"{LINE}/v2"),
        ("LORA:v3", f"{LINE}/v3"),
        ("team/lora v9", f"{LINE}/v9"),
        ("lor v2", f"{LINE}/v2"),
        ("lora @prod", PROD),
        ("lora@prod", PROD),
        ("none v2", "/ui/deltas?q=none"),
        ("lora v0", "/ui/deltas?q=lora+v0"),
        ("<b>", "/ui/deltas?q=%3Cb%3E"),
        ("", "/ui/deltas?q="),
    ],
)
def test_a_reference_leads_to_its_page(pages, asked, leads):
    answer = pages.get("/ui/find", params={"q": asked})

    assert (answer.status_code, answer.headers["Location"]) == (303, leads)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ui/deltas/team/none", 404),
        (f"{LINE}/v99", 404),
        (f"{LINE}/x", 422),
        (f"{LINE}/channels/none", 404),
        ("/ui/requests/99", 404),
        ("/ui/requests/x", 422),
        ("/ui/runs/x", 422),
        ("/ui/bases/none", 404),
        (f"{LINE}/diff?a=v77", 422),
        ("/ui/requests?cursor=abcd", 422),
        (f"{PROD}?at=yesterday", 422),
        ("/ui/storage?of=A", 422),
        ("/ui/storage?of=none", 404),
        ("/ui/deltas/TEAM/x", 422),
        ("/ui/fleet?of=x", 422),
        ("/ui/explain/none", 404),
        ("/ui/explain/No.md", 404),
    ],
)
def test_what_is_not_there_is_a_page_with_a_way_on(pages, path, status):
    answer = pages.get(path, headers={"X-Request-ID": "told-7"})

    assert answer.status_code == status
    assert "told-7" in answer.text
    assert f'href="{path.replace("&", "&amp;")}"' in answer.text
    assert pages.get(path, headers={"Accept": "application/json"}).json()["status"] == status


def test_lines_are_found_by_name_digest_kind_base_and_words(desk, pages):
    digest = desk.client().show("team/lora:v1").digest
    asked = ["LORA", digest, digest.removeprefix("sha256:")[:12], "attention"]

    for words in asked:
        found = pages.get("/ui/deltas", params={"q": words, "format": "json"}).json()
        assert [each["line"] for each in found["found"]["items"]] == ["team/lora"], words
    none = pages.get("/ui/deltas", params={"q": "%", "format": "json"}).json()
    assert none["found"]["items"] == []
    by_base = pages.get("/ui/deltas?q=tinyllama&format=json").json()
    assert len(by_base["found"]["items"]) == 1
    assert by_base["facets"] == []  # there is nothing to choose between
    narrowed = pages.get("/ui/deltas?kind=full&format=json").json()
    assert [facet["values"] for facet in narrowed["facets"]] == [[["lora", 1, "/ui/deltas?kind=lora", False]]]


def test_home_says_what_waits_and_for_whom(desk, pages):
    home = pages.get("/ui/?format=json").json()

    assert [(each["id"], each["is_yours"]) for each in home["waiting"]] == [(1, True)]
    assert [(each["agent"], each["drift"]) for each in home["drift"]] == [("host-1", "behind")]
    with browser(desk, desk.token("read", "promote", "approve", principal="maker")) as maker:
        mine = maker.get("/ui/?format=json").json()
    assert [each["is_yours"] for each in mine["waiting"]] == [False]


def test_the_gates_own_answer_is_shown(desk, pages):
    shown = pages.get(f"{LINE}/v3/gate?format=json").json()["gate"]
    http = desk.http(desk.admin_token)
    asked = http.get("/deltas/team/lora/versions/3/gate", params={"channel": "prod"}).json()

    assert shown["rules"] == asked["rules"]
    assert not shown["allowed"]


def test_a_map_tells_what_differs(pages):
    diff = pages.get(f"{LINE}/diff?a=v2&b=v3&format=json").json()
    same = pages.get(f"{LINE}/diff?a=v2&b=v2&format=json").json()
    three = pages.get(f"{LINE}/diff?a=v1&b=v2&c=v3&format=json").json()

    assert {row["module"] for row in diff["map"]["rows"]} >= {"self_attn.q_proj", "mlp.up_proj"}
    assert diff["counted"]["changed"] == 4
    assert diff["counted"]["removed"] == 10
    assert {each["name"] for each in diff["config"]} == {"lora_alpha", "r"}
    assert [pair["check"] for pair in diff["checks"] if pair["b"]["verdict"] == "fail"] == ["effect"]
    assert (three["a"]["version"], three["b"]["version"], three["c"]["version"]) == (1, 2, 3)
    assert sum(three["counted"].values()) == sum(
        style["style"] != "neither" for row in three["map"]["rows"] for style in row["cells"]
    )
    assert {each["name"]: each["c"] for each in three["config"]}["r"] == next(
        each["b"] for each in diff["config"] if each["name"] == "r"
    )
    assert same["counted"] == {"changed": 0, "added": 0, "removed": 0, "same": 14}


def test_an_empty_registry_says_how_to_fill_it(local_registry):
    with browser(local_registry, local_registry.admin_token) as client:
        for path in EMPTY:
            answer = client.get(path)
            assert answer.status_code == 200, path
            if path not in {"/ui/storage", "/ui/access"}:
                assert re.search(r"<code>deltareg ", answer.text), path


@pytest.mark.postgres
def test_what_is_shown_at_a_glance_is_found_by_the_other_database(postgresql_registry):
    server = postgresql_registry
    with browser(server, server.admin_token) as client:
        assert client.get("/ui/?format=json").json()["lines"] == 0
        server.line("lora")
        for path in OWN_QUERIES:
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text)
        home = client.get("/ui/?format=json").json()
        client.post("/ui/logout", data={"word": word_of(client)})
        assert client.get("/ui/").status_code == 303
    assert [(each["channel"], each["version"]) for each in home["moved"]] == [("prod", 1)]


@pytest.mark.soak
@pytest.mark.postgres
def test_every_page_is_there_on_the_other_database(postgresql_registry):
    fill(postgresql_registry)
    with browser(postgresql_registry, postgresql_registry.admin_token) as client:
        for path in PATHS:
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text)


def test_what_somebody_may_not_see_is_not_there(desk):
    admin = desk.http(desk.admin_token)
    admin.post("/namespaces", json={"name": "den", "visibility": "private"}).raise_for_status()
    asked = {"principal": "eve", "scopes": ["read"], "everywhere": False}
    token = admin.post("/tokens", json=asked).json()["token"]

    with browser(desk, token) as eve:
        listed = eve.get("/ui/access?format=json").json()["namespaces"]
        of_den, of_none = (eve.get(f"/ui/deltas/{ns}/x?format=json").json() for ns in ("den", "no"))

    assert [each["name"] for each in listed] == ["team"]
    assert of_den["status"] == 404
    assert of_den["detail"].replace("den", "no") == of_none["detail"]
