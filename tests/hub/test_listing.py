"""The list of repositories: what is found, in which order and pages, and what nobody is shown."""

import json

import httpx
import pytest

from deltareg.client import Client
from deltareg.service.hub import listing
from deltareg.service.paging import cursor_at, read_cursor
from tests.fixtures.registries import SCOPES
from tests.hub.conftest import BASE, HUB_ID, LORA, LORA_2, fill, member

ODD = [
    "\x00",
    "a\x00b",
    "\n",
    "\u202e",
    "\ufeff",
    "\U0010ffff",
    "x" * 300,
    " ".join("x" * 40),
    "'; --",
    "%",
    "_",
    "\\",
    '"',
]


@pytest.fixture(scope="module")
def reader(shelf):
    return member(shelf, "reader")


@pytest.fixture
def listed(shelf, reader, ask):
    """Give what lists repositories, by name."""

    def listed(query="", *, token=reader):
        answer = ask(shelf, f"/api/models{query}", token=token)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()]

    return listed


def test_each_finds_what_it_may_read(shelf, listed):
    owner, admin = shelf.token("read", principal="owner"), shelf.admin_token

    assert listed() == ["team/full", "team/lora"]
    assert listed(token=owner) == ["den/secret", "team/full", "team/lora"]
    assert listed(token=admin) == ["den/secret", "team/full", "team/lora"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?search=LOR", ["team/lora"]),
        ("?search=team/l", ["team/lora"]),
        ("?search=full%20te", ["team/full"]),
        ("?search=full&search=lora", []),
        ("?search=%25", []),
        ("?search=_", []),
        ("?author=team", ["team/full", "team/lora"]),
        ("?author=TEAM&search=full", ["team/full"]),
        ("?author=tea", []),
        ("?filter=lora", ["team/lora"]),
        ("?filter=peft", ["team/lora"]),
        ("?filter=lora&filter=peft", ["team/lora"]),
        ("?filter=lora&filter=transformers", []),
        ("?filter=transformers", ["team/full"]),
        ("?filter=base:tinyllama", ["team/full", "team/lora"]),
        (f"?filter=base_model:{HUB_ID}", ["team/full", "team/lora"]),
        (f"?filter=base_model:adapter:{HUB_ID}&filter=lora", ["team/lora"]),
        ("?filter=base:none", []),
        ("?filter=base_model:org/none", []),
        ("?filter=nothing-is-called-so", []),
        ("?pipeline_tag=text-generation", []),
        ("?gated=true", []),
        ("?gated=false&search=full", ["team/full"]),
    ],
)
def test_a_list_is_narrowed(listed, query, found):
    assert listed(query) == found


def test_nothing_private_is_found_by_any_condition(listed):
    """A name, an author, a cursor behind it: who may not read it finds what is not there."""
    for query in ("?author=den", "?search=secret", "?search=den/secret", "?author=den&filter=lora"):
        assert listed(query) == []
    for order in ("", "&sort=lastModified", "&sort=createdAt"):
        assert "den/secret" not in listed(f"?limit=100{order}")


def test_a_page_leads_to_the_next(shelf, ask, monkeypatch):
    monkeypatch.setattr(listing, "MOST_ROWS", 1)
    owner = shelf.token("read", principal="owner")

    for sort, found in (
        ("", ["den/secret", "team/full", "team/lora"]),
        ("sort=lastModified&", ["den/secret", "team/full", "team/lora"]),
        ("sort=createdAt&direction=-1&", ["den/secret", "team/full", "team/lora"]),
    ):
        path, pages = f"/api/models?{sort}limit=1000", []
        while path:
            answer = ask(shelf, path, token=owner)
            pages.append([each["id"] for each in answer.json()])
            path = httpx.URL(answer.links["next"]["url"]).raw_path.decode() if answer.links else ""
        assert [name for page in pages for name in page] == found
        assert {len(page) for page in pages} == {1}


def test_pages_of_somebody_name_nothing_that_they_may_not_read(shelf, ask, reader, monkeypatch):
    monkeypatch.setattr(listing, "MOST_ROWS", 1)

    first = ask(shelf, "/api/models", token=reader)
    cursor = httpx.URL(first.links["next"]["url"]).params["cursor"]
    as_other = ask(shelf, "/api/models", token=reader, params={"cursor": cursor_at("name:den/a")})

    assert [each["id"] for each in first.json()] == ["team/full"]
    assert read_cursor(cursor) == "name:team/full"
    assert as_other.json() == first.json()


def test_the_newest_comes_first_where_that_is_asked_for(hub, ask):
    owner = hub.line("lora", "lora_v2")
    owner.push(LORA_2, "team/older", base="tinyllama")
    owner.push(LORA, "team/newer", base="tinyllama")
    owner.push(LORA, "team/older", base="tinyllama")
    token = member(hub, "reader")

    found = {
        sort: [each["id"] for each in ask(hub, "/api/models", token=token, params={"sort": sort}).json()]
        for sort in ("lastModified", "createdAt", "downloads")
    }

    assert found == {
        "lastModified": ["team/older", "team/newer", "team/lora"],
        "createdAt": ["team/newer", "team/older", "team/lora"],
        "downloads": ["team/lora", "team/newer", "team/older"],
    }


def test_a_deleted_version_is_not_listed(hub, ask):
    owner = hub.line("lora")
    owner.push(LORA_2, "team/gone", base="tinyllama")
    token = member(hub, "reader")

    before = [
        ask(hub, f"/api/models{sort}", token=token).json() for sort in ("", "?sort=lastModified", "?sort=createdAt")
    ]
    owner.versions.delete("team/gone:v1")
    after = [
        ask(hub, f"/api/models{sort}", token=token).json() for sort in ("", "?sort=lastModified", "?sort=createdAt")
    ]

    assert [{each["id"] for each in one} for one in before] == [{"team/gone", "team/lora"}] * 3
    assert [{each["id"] for each in one} for one in after] == [{"team/lora"}] * 3


def test_a_tag_is_found_wherever_it_stands(hub, ask, tmp_path):
    owner = hub.line("lora")
    folder = tmp_path / "carded"
    folder.mkdir()
    for path in LORA_2.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    front = "tags: [Customer-Support]\npipeline_tag: text-generation\nlanguage: de\nlicense: mit"
    (folder / "README.md").write_text(f"---\n{front}\n---\n# T\nabout robots\n")
    owner.push(folder, "team/carded", base="tinyllama", labels={"team": "search", "reviewed": ""})
    token = member(hub, "reader")

    def found(**params):
        return [each["id"] for each in ask(hub, "/api/models", token=token, params=params).json()]

    for tag in ("customer-support", "text-generation", "de", "license:mit", "team=search", "reviewed"):
        assert found(filter=tag) == ["team/carded"], tag
    for tag in ("customer", "robots", "mit", "search", "about"):  # words about it, and no tags of it
        assert found(filter=tag) == [], tag
    assert found(pipeline_tag="text-generation") == ["team/carded"]
    info = ask(hub, "/api/models/team/carded/revision/v1", token=token).json()
    assert {"reviewed", "team=search", "Customer-Support", "license:mit"} <= {*info["tags"]}
    assert info["cardData"]["license"] == "mit"


def test_the_base_of_a_namespace_that_somebody_may_not_read_is_no_tag(local_hub, ask):
    with Client(local_hub._config(local_hub.token(*SCOPES, principal="owner"))) as owner:
        owner.namespaces.create("den", visibility="private")
        owner.bases.push(BASE, "den/tiny", hub_ids=[HUB_ID])
        owner.push(LORA, "team/lora", base="den/tiny")
    token = member(local_hub, "reader")

    (only,) = ask(local_hub, "/api/models", token=token).json()
    by_base = [
        ask(local_hub, "/api/models", token=token, params={"filter": tag}).json()
        for tag in ("base:den/tiny", f"base_model:{HUB_ID}")
    ]

    assert "tiny" not in json.dumps(only).lower().replace("team/lora", "")
    assert by_base == [[], []]


def test_main_of_a_list_is_main_of_a_repository(shelf, ask, reader):
    for token in (reader, shelf.token("read", "push", principal="owner")):
        for each in ask(shelf, "/api/models?full=true", token=token).json():
            info = ask(shelf, f"/api/models/{each['id']}", token=token)
            assert each["sha"] == (info.json()["sha"] if info.status_code == 200 else None)


@pytest.mark.parametrize("name", ["search", "author", "filter", "pipeline_tag", "cursor", "sort", "limit", "direction"])
def test_odd_text_is_refused_or_finds_nothing(shelf, ask, reader, name):
    for text in (*ODD, "-1", "0", "1e9", "\uff19", "9" * 40):
        answer = ask(shelf, "/api/models", token=reader, params={name: text})
        assert answer.status_code in {200, 400, 422}, (text, answer.text)
        if answer.status_code == 200:
            assert answer.json() == [] or name in {"limit", "search", "direction"} or not text.strip(), text
        elif answer.status_code == 422:
            assert answer.json()["fix"], text
        else:
            assert answer.json()["detail"] == "the address holds a NUL character", text
    raw = ask(shelf, f"/api/models?{name}=%ff%ed%a0%80", token=reader)
    assert raw.status_code in {200, 422}


@pytest.mark.parametrize("name", ["apps", "inference", "inference_provider", "num_parameters"])
def test_a_condition_that_is_not_known_here_is_refused(shelf, ask, reader, name):
    answer = ask(shelf, "/api/models", token=reader, params={name: "all"})

    assert answer.status_code == 422
    assert answer.json()["error"].startswith(f"deltas are not listed by {name} here\nfix: ")


def test_a_token_without_rights_lists_nothing(shelf, ask):
    pusher = member(shelf, "only-push", "push", also_read=False)

    answer = ask(shelf, "/api/models", token=pusher)

    assert (answer.status_code, "team/" in answer.text) == (403, False)
    assert ask(shelf, "/api/models").status_code == 401


def test_a_list_that_has_not_changed_is_not_sent_again(shelf, ask, reader):
    first = ask(shelf, "/api/models?full=true&cardData=true", token=reader)

    again = ask(
        shelf, "/api/models?full=true&cardData=true", token=reader, headers={"If-None-Match": first.headers["ETag"]}
    )

    assert (again.status_code, again.content) == (304, b"")


def test_fields_may_be_chosen(shelf, ask, reader):
    (one,) = ask(shelf, "/api/models?search=lora&expand=sha&expand=siblings", token=reader).json()

    assert {*one} == {"_id", "id", "modelId", "sha", "siblings"}


def test_what_is_public_is_listed_for_anybody_where_that_is_allowed(local_hub, ask):
    fill(local_hub)
    local_hub.app.state.server.anonymous_reading = True

    before = ask(local_hub, "/api/models").json()
    with Client(local_hub._config(local_hub.admin_token)) as admin:
        admin.namespaces.change("team", visibility="public")
    after = ask(local_hub, "/api/models").json()

    assert before == []
    assert [(each["id"], each["private"]) for each in after] == [("team/full", False), ("team/lora", False)]
