"""Templates: nothing in them that the policy of the pages forbids."""

import hashlib
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from deltareg.drawing.rendering import render

ROOM = Path(str(files("deltareg.pages")))
TEMPLATES = sorted((ROOM / "templates").glob("*.jinja"))
FORBIDDEN = {
    "inline style": r"\sstyle\s*=",
    "inline handler": r"\son[a-z]+\s*=",
    "htmx that evaluates": r"hx-(on|vals\s*=\s*[\"']js|vars)",
    "a filter in a trigger": r"hx-trigger\s*=\s*\"[^\"]*\[",
    "unescaped": r"\|\s*(safe|tojson|xmlattr|urlize)|autoescape",
    "script text": r"<script(?![^>]*\bsrc=)",
    "another host": r"(href|src|action|hx-get)\s*=\s*\"(https?:)?//",
    "a form that says who sends it nothing": r"target\s*=\s*\"_blank\"",
}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_template_has_nothing_that_is_forbidden(path, what):
    found = re.search(FORBIDDEN[what], re.sub(r"{#.*?#}", "", path.read_text(), flags=re.S))

    assert found is None, found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_every_form_that_acts_holds_the_word_of_its_session(path):
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", path.read_text(), flags=re.S):
        is_before = any(f'action="/ui/{place}' in form for place in ("login", "device", "sign-in/"))  # no session yet
        assert is_before or "ui.word(frame)" in form or "of.hidden(" in form


def test_every_shape_is_drawn():
    source = (ROOM / "templates" / "parts.html.jinja").read_text()
    drawn = set(re.findall(r'id="i-(\w+)"', (ROOM / "templates" / "icons.html.jinja").read_text()))
    used = set(re.findall(r'": \["\w+", "(\w+)", ', source))

    assert used == drawn


def test_what_is_shipped_of_others_is_what_it_says():
    vendor = ROOM / "static" / "vendor"
    listed = tomllib.loads((vendor / "vendor.toml").read_text())
    licences = {facts["licence_file"] for facts in listed.values()}

    assert {*listed, *licences, "vendor.toml"} == {path.name for path in vendor.iterdir()}
    for name, facts in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == facts["sha256"]
        assert (vendor / facts["licence_file"]).read_text().strip()


def test_scripts_evaluate_nothing():
    source = (ROOM / "static" / "pages.js").read_text()

    assert not re.search(r"\beval\b|new Function|innerHTML|outerHTML|insertAdjacentHTML", source)
    assert len(source.splitlines()) < 220


def test_a_name_that_is_not_there_is_an_error():
    with pytest.raises(Exception, match="no attribute"):
        render("help.html.jinja", room="deltareg.pages", frame={"files": {}})
