"""Search: by words, labels, base, kind and metrics, as far as one may read, page by page."""

from typing import Any

import pytest
import sqlalchemy as sa

from deltareg.client import Client
from deltareg.db import tables as t
from deltareg.db.lines.search import MetricBound, SearchConditions, found_ids
from deltareg.db.session import read, write
from deltareg.errors import DeltaregError, InvalidInput, NotFound
from deltareg.service.lines.search import read_bound
from deltareg.wire import TokenCreate
from tests.service.test_cards import CARD, folder_with

V1, V2, V3 = (f"team/lora:v{number}" for number in (1, 2, 3))


@pytest.fixture
def client(registry_server, tmp_path):
    """Push two versions without a card and one with."""
    client = registry_server.line("lora", "lora_v2")
    client.push(
        folder_with(tmp_path, CARD),
        "team/lora",
        base="tinyllama",
        message="Über Nachrichten",
        labels={"tested": "yes", "site": "Winter-Park"},
    )
    return client


def refs(client, *words, **asked):
    return [hit.ref for hit in client.versions.search(*words, **asked).items]


FOUND: list[tuple[dict[str, Any], list[str]]] = [
    ({"text": "summaries"}, [V3]),
    ({"text": "SUMMARIES news"}, [V3]),
    ({"text": "über"}, [V3]),
    ({"text": "ÜBER nachricht*"}, [V3]),
    ({"text": "winter"}, [V3]),
    ({"text": "winter-park"}, [V3]),
    ({"text": "lora"}, [V3, V2, V1]),
    ({"text": "team sum*"}, [V3]),
    ({"text": "summaries absent"}, []),
    ({"text": "summarie"}, []),
    ({"labels": {"tested": "yes"}}, [V3]),
    ({"labels": {"tested": None, "site": "Winter-Park"}}, [V3]),
    ({"labels": {"tested": "no"}}, []),
    ({"base": "tinyllama"}, [V3, V2, V1]),
    ({"kind": "lora", "within": "team/lora", "newest": True}, [V3]),
    ({"kind": "ia3"}, []),
    ({"within": "team", "text": "lora"}, [V3, V2, V1]),
    ({"metrics": ["accuracy>=0.93"]}, [V3]),
    ({"metrics": ["Accuracy > 0.93"]}, []),
    ({"metrics": ["accuracy<1", "accuracy>0.5"], "kind": "lora"}, [V3]),
    ({}, [V3, V2, V1]),
]


def test_versions_are_found_by_what_is_known_of_them(client):
    for asked, found in FOUND:
        assert refs(client, **asked) == found, asked
    (hit,) = client.versions.search(metrics=["accuracy>0"]).items

    assert (hit.title, hit.summary) == ("Summaries of news", "Short ones.")
    assert [(f.name, f.value, f.source) for f in hit.metrics] == [("accuracy", 0.93, "card")]
    assert hit.base.name == "tinyllama"
    for text in ODD:
        assert refs(client, text) == [], text


def test_labels_of_a_training_are_metrics(client):
    odd = {"metric.": "1", "metric.nan": "nan", "metric.much": "1e999", "metric.word": "high"}
    client.versions.label(V2, {"metric.Eval_Loss": "1.25e-1", "step": "3", **odd})

    found = client.versions.search(metrics=["eval_loss<=0.125"]).items
    none = [refs(client, metrics=[f"{name}>-1e9"]) for name in ("nan", "much", "word", "step")]
    client.versions.label(V2, {"metric.Eval_Loss": "2"})
    again = refs(client, metrics=["eval_loss<=0.125"])

    assert [hit.ref for hit in found] == [V2]
    assert [(f.name, f.value, f.source) for f in found[0].metrics] == [("eval_loss", 0.125, "label")]
    assert none == [[], [], [], []]
    assert again == []


def test_metrics_are_those_of_the_newest_verdict(client, registry_server):
    with read(registry_server.registry.engine) as conn:
        rows = conn.execute(sa.select(t.version_metrics.c.source, t.version_metrics.c.name)).all()
    checks = {name for source, name in rows if source == "smoke"}

    assert checks, "the two that went to prod were verified"
    name = min(checks)
    assert V2 in refs(client, metrics=[f"{name}>=-1000000"])
    assert {f.source for h in client.versions.search(metrics=[f"{name}>-9e9"]).items for f in h.metrics} == {"smoke"}


def test_what_changes_is_found_at_once_and_what_is_gone_is_not(client):
    client.versions.label(V3, {"tested": "again", "shore": ""}, remove=["site"])

    assert refs(client, labels={"tested": "again"}) == refs(client, "shore") == [V3]
    assert refs(client, labels={"tested": "yes"}) == refs(client, "winter") == []
    assert refs(client, labels={"site": None}) == []
    assert refs(client, "summaries") == [V3]

    client.versions.delete(V3)
    assert refs(client, "summaries") == []
    assert refs(client, within="team/lora", newest=True) == [V2]

    client.versions.restore(V3)

    assert refs(client, "summaries") == [V3]


def test_pages_go_on_where_they_ended(client):
    first = client.versions.search("lora", limit=2)
    rest = client.versions.search("lora", limit=2, cursor=first.next_cursor)

    assert [hit.ref for hit in first.items] == [V3, V2]
    assert [hit.ref for hit in rest.items] == [V1]
    assert rest.next_cursor is None
    assert [hit.ref for hit in client.versions.search("lora", limit=1)] == [V3, V2, V1]


def test_nobody_finds_what_they_may_not_read(client, registry_server, tmp_path):
    body = TokenCreate(principal="stranger", scopes=["read"], everywhere=False)
    token = registry_server.client().tokens.create(body).token
    stranger = Client(registry_server.url, token=token, cache_dir=tmp_path / "cache")
    assert refs(stranger, "summaries") == [V3]

    client.namespaces.change("team", visibility="private")

    assert refs(stranger, "summaries") == refs(stranger) == []
    with pytest.raises(NotFound, match="there is no namespace team"):
        refs(stranger, within="team")
    with pytest.raises(NotFound, match="there is no delta team/lora"):
        refs(stranger, within="team/lora")
    assert refs(client, "summaries") == [V3]
    stranger.close()


ODD = ["sum%", "'; DROP TABLE versions; --", "=kind:lora", "日本語", "a" * 40 + "*", "\u00aa\u00aa"]
SLIPS: list[tuple[dict[str, Any], type[DeltaregError], str]] = [
    ({"text": "!"}, InvalidInput, "no word to look for"),
    ({"text": "x"}, InvalidInput, "2 to 40"),
    ({"kind": "lorra"}, InvalidInput, "did you mean lora"),
    ({"base": "tinylama"}, NotFound, "there is no base 'tinylama'"),
    ({"metrics": ["accuracy"]}, InvalidInput, "not a metric"),
    ({"metrics": ["accuracy>=high"]}, InvalidInput, "not a metric"),
    ({"text": " ".join(f"w{n}" for n in range(17))}, InvalidInput, "at most 16"),
    ({"within": "nowhere"}, NotFound, "there is no namespace nowhere"),
    ({"cursor": "x"}, InvalidInput, "not a cursor"),
    ({"limit": 1000}, InvalidInput, "limit must be"),
]


def test_slips_say_what_to_write(local_registry):
    client = local_registry.line("lora")

    for asked, error, told in SLIPS:
        with pytest.raises(error) as refused:
            client.versions.search(**asked)
        assert told in refused.value.message + refused.value.fix, asked


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("a>=1", MetricBound("a", ">=", 1.0)),
        (" rouge 1 < -0.5 ", MetricBound("rouge 1", "<", -0.5)),
        ("f1=1e-3", MetricBound("f1", "=", 0.001)),
    ],
)
def test_a_bound_is_read_as_written(text, bound):
    assert read_bound(text) == bound


def test_the_rarest_condition_is_walked_and_the_answer_is_that_of_a_scan(client, registry_server):
    """Every pair of conditions, held against all rows looked at one by one."""
    engine = registry_server.registry.engine
    with write(engine) as conn:
        terms = {(row.term, row.version_id) for row in conn.execute(sa.select(*t.search_terms.c))}
        all_ids = sorted({version for _, version in terms}, reverse=True)
        words = sorted({term for term, _ in terms})[:24]
        for one in words:
            for other in words[::3]:
                sought = SearchConditions(terms=(one,), beginnings=(other[:3],))
                scanned = [
                    version
                    for version in all_ids
                    if (one, version) in terms
                    and any(term.startswith(other[:3]) for term, at in terms if at == version)
                ]
                assert found_ids(conn, sought, before=None, limit=99) == scanned, (one, other)
