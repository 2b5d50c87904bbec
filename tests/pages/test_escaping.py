"""Text of others stays text: in every field that somebody writes, on every page that shows it."""

import json
import shutil
from html.parser import HTMLParser

import pytest

from tests.pages.conftest import DELTAS, browser, word_of
from tests.pages.routes import LINE, READ

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "{{7*7}}{% raw %}",
    "javascript:alert(1)",
    "</title><script>",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    '" autofocus onfocus=alert(1) x="',
    "\u202egnp.exe",
    "a\u200bb",
    "=cmd|' /C calc'!A0",
    "<a href=//evil.example>x</a>",
    "NaN",
    "${7*7}",
    "<b>" * 30,
    "</script></style></svg>",
]
UNSEEN = ("\u202e", "\u200b", "\x1b")
ASKED = [
    "deltas",
    "find",
    "login",
    "audit",
    "fleet",
    "runs",
    "requests",
    "storage",
    "lineage",
    "policy",
    "suites",
    "nowhere",
]
NAMES = (
    "q",
    "next",
    "kind",
    "actor",
    "subject",
    "action",
    "of",
    "state",
    "base",
    "channel",
    "at",
    "open",
    "up",
    "theme",
    "namespace",
    "measure",
)
TAGS = {"img", "iframe", "object", "embed", "base", "b", "style"}


class Harmless(HTMLParser):
    """Holds markup against what templates write: nothing that acts, nothing of another host."""

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        assert tag not in TAGS - {"b"} or found == {}, (tag, found)
        assert not any(name.startswith("on") for name in found), (tag, found)
        assert tag != "script" or found["src"].startswith("/ui/static/"), found
        for name in ("href", "src", "action"):
            value = found.get(name) or "/ui/"
            assert value.startswith(("/ui/", "#", "?")), (tag, value)

    handle_startendtag = handle_starttag


@pytest.fixture(scope="module")
def written(sqlite_template, tmp_path_factory, desk):
    """Write hostile text into every field that somebody may write; gives a browser of the admin."""
    maker = desk.client(principal="maker")
    everything = "\n".join(HOSTILE)
    plain = [text for text in HOSTILE if not any(sign in text for sign in UNSEEN)]
    labels = {f"l{number}": text[:60] for number, text in enumerate(plain[:16])}
    folder = tmp_path_factory.mktemp("hostile") / "lora"
    shutil.copytree(DELTAS / "lora_v2", folder)
    facts = "\n".join(f"{name}: {json.dumps(HOSTILE[0])}" for name in ("license", "task", "tags"))
    (folder / "README.md").write_text(f"---\n{facts}\n---\n# {HOSTILE[1]}\n\n{everything}\n")
    maker.push(folder, "team/x", base="tinyllama", message=everything, labels=labels)
    maker.push(DELTAS / "lora_qv", "team/x", base="tinyllama", message=everything)
    agent = desk.http(desk.token("read", "serve", principal="host-2"))
    serves = [{"channel": "team/lora@prod", "state": "failed", "error": everything}]
    agent.put("/fleet/agents/host-2", json={"engine": "dir", "every_s": 9, "serves": serves})
    admin = desk.http(desk.admin_token)
    admin.post("/tokens", json={"principal": "noted", "note": everything})
    about = "".join(plain).replace("\n", " ")
    suite = {"name": "hostile", "about": about, "checks": ["effect"]}
    admin.post("/suites", json={"document": json.dumps(suite)}).raise_for_status()
    floor = {"policy": {"suites": ["smoke"]}, "reason": everything}
    seen = {"If-Match": admin.get("/namespaces/team/policy").headers["ETag"]}
    admin.put("/namespaces/team/policy", json=floor, headers=seen).raise_for_status()
    with browser(desk, desk.admin_token) as client:
        form = {"word": word_of(client), "kind": "freeze", "revision": "0", "reason": everything}
        assert client.post(f"{LINE}/channels/dev/move", data=form).status_code == 303
        said = {"word": word_of(client), "decision": "reject", "reason": everything}
        assert client.post("/ui/requests/1/decide", data=said).status_code == 303
        yield client


@pytest.mark.parametrize("path", READ.values(), ids=READ)
def test_what_others_wrote_stays_text(written, path):
    runs = written.get("/ui/runs?state=all&format=json").json()["runs"]["items"]
    judged = written.get("/ui/deltas/team/lora/v3/verdicts?format=json").json()["verdicts"]["items"]
    address = path.format(run=runs[0]["id"], verdict=judged[0]["id"])
    answer = written.get(address, follow_redirects=True)
    Harmless().feed(answer.text)

    assert answer.status_code == 200, answer.text
    assert not any(sign in answer.text for sign in UNSEEN)


@pytest.mark.parametrize("page", ASKED)
def test_what_an_address_says_stays_text(written, page):
    for text in HOSTILE:
        answer = written.get(f"/ui/{page}", params=dict.fromkeys(NAMES, text))

        Harmless().feed(answer.text)
        assert answer.status_code < 500
        assert not any(sign in answer.text for sign in UNSEEN)
        assert answer.headers.get("Location", "/ui/").startswith("/ui/")


def test_somebody_did_write_it(written):
    text = written.get(f"{LINE}/v1").text

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{7*7}}" in text


@pytest.mark.parametrize("act", ["try", "save"])
@pytest.mark.parametrize("page", [f"{LINE}/channels/dev/policy", "/ui/policy", "/ui/suites/-/new"])
def test_what_is_written_into_a_form_comes_back_as_text(written, page, act):
    for text in HOSTILE:
        said = {"word": word_of(written), "text": text, "reason": text, "seen": text, "act": act}
        answer = written.post(page, data=said)

        Harmless().feed(answer.text)
        assert answer.status_code in {412, 422}
        assert not any(sign in answer.text for sign in UNSEEN)
