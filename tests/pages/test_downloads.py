"""What is taken away of a page: all of its list, by the reader's rights, and harmless to a program.

CSV is read by the standard library, drawings by an XML parser.
"""

import csv
import io
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltareg.pages.tables import PageTable, harmless, parts, write_rows
from deltareg.service.access.audit import AuditQuery, list_audit
from deltareg.service.access.tokens import authenticate
from tests.pages.conftest import browser
from tests.pages.test_pages import LINE, PROD

TABLES = {
    "/ui/deltas": "delta",
    LINE: "ref",
    PROD: "revision",
    "/ui/requests?state=all": "request",
    "/ui/runs?state=all": "run",
    "/ui/workers": "worker",
    "/ui/bases": "base",
    "/ui/bases/tinyllama": "ref",
    "/ui/fleet": "agent",
    "/ui/storage": "of",
    "/ui/access": "principal",
    "/ui/tokens": "token",
    "/ui/audit": "row",
    "/ui/sessions": "session",
    "/ui/suites": "suite",
    "/ui/suites/smoke": "name",
    "/ui/storage/plan": "ref",
    f"{LINE}/metrics": "measure",
    f"{LINE}/v3/verdicts": "verdict",
    f"{LINE}/v3/files": "module",
    f"{LINE}/diff?a=v2&b=v3": "module",
}
DRAWN = [f"{LINE}/v3/files", f"{LINE}/diff?a=v2&b=v3"]
SVG = "{http://www.w3.org/2000/svg}"
FIRST = set("=+-@\uff1d\uff0b\uff0d\uff20")


def taken(client, path, kind="csv"):
    return client.get(f"{path}{'&' if '?' in path else '?'}format={kind}")


def rows_of(client, path):
    answer = taken(client, path)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.parametrize("path", TABLES)
def test_a_list_is_taken_away_as_csv(pages, path):
    answer = taken(pages, path)
    head, *rows = csv.reader(io.StringIO(answer.text), strict=True)

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="')
    assert answer.headers["Cache-Control"] == "no-store"
    assert head[0] == TABLES[path]
    assert {len(row) for row in rows} <= {len(head)}
    assert rows or path in {"/ui/workers", "/ui/storage/plan"}
    assert 'format=csv" download' in pages.get(path).text


def test_all_of_a_list_is_there_and_not_a_page_of_it(desk):
    admin = authenticate(desk.registry, desk.admin_token, request_id="x")

    def load(cursor):
        return list_audit(desk.registry, admin, AuditQuery(), cursor=cursor or None, limit=3)

    table: PageTable[Any] = PageTable(
        ("row", "did"), lambda page: [(row.id, row.action) for row in page.items], lambda page: page.next_cursor
    )
    sent = list(parts(table, load(""), load))
    numbers = [int(row["row"]) for row in csv.DictReader(io.StringIO("".join(sent)))]

    assert len(sent) > 4
    assert numbers == list(range(numbers[0], 0, -1))


def test_a_list_is_of_what_its_reader_may_see(desk):
    asked = {"principal": "outsider", "scopes": ["read"], "everywhere": False}
    token = desk.http(desk.admin_token).post("/tokens", json=asked).json()["token"]

    with browser(desk, token) as reader:
        assert rows_of(reader, "/ui/deltas")[0]["delta"] == "team/lora"
        assert {row["principal"] for row in rows_of(reader, "/ui/tokens")} == {"outsider"}
        assert taken(reader, "/ui/audit").status_code == 403


@pytest.mark.parametrize("path", DRAWN)
def test_a_map_is_taken_away_as_a_drawing_that_is_whole_by_itself(pages, path):
    answer = taken(pages, path, "svg")
    root = ET.fromstring(answer.text)
    twin = taken(pages, path, "json").json()["map"]

    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert root.tag == f"{SVG}svg"
    cells = [each.findtext(f"{SVG}title") for each in root.iter(f"{SVG}rect")]
    assert cells == [cell["told"] for row in twin["rows"] for cell in row["cells"]]
    assert not list(root.iter(f"{SVG}script"))
    assert rows_of(pages, path)[0]["module"] == twin["rows"][0]["module"]


@settings(max_examples=40)
@given(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.none(), st.booleans()))
def test_no_cell_is_a_formula(cell):
    (row,) = csv.reader(io.StringIO(write_rows([(cell, "x")])))

    is_text = isinstance(cell, str)
    assert row[1] == "x"
    assert not (is_text and row[0][:1] in FIRST)
    if is_text and row[0].startswith("'"):
        assert row[0].removeprefix("'")[:1] in FIRST or row[0] == harmless(cell)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("\t=1+1", "'=1+1"),
        ("\r\n@x", "'@x"),
        ("+1", "'+1"),
        ("-x", "'-x"),
        (-1.5, "-1.5"),
        (None, ""),
        (True, "yes"),
        ("\u200b=1", "'=1"),
        ("\uff1d1", "'\uff1d1"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_what_begins_like_a_formula_is_text(cell, shown):
    assert harmless(cell) == shown
