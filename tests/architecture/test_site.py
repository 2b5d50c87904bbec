"""The site of the docs builds, whole, without a broken link and without a network."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.http_page import http_page
from tests.architecture.tree import REPOSITORY

OPENAPI = json.loads((REPOSITORY / "docs" / "openapi.json").read_text())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site, every warning an error."""
    for module in ("material", "mkdocstrings"):
        pytest.importorskip(module, reason="needs the extra docs: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    # No proxy leads anywhere, so that what asks the network fails.
    blocked = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:1")
    done = subprocess.run(
        command, cwd=REPOSITORY, env={"PATH": "/usr/bin:/bin", **blocked}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_page_of_the_docs_is_on_the_site(site):
    docs = REPOSITORY / "docs"
    wanted = {path.relative_to(docs).with_suffix(".html") for path in docs.rglob("*.md")}
    wanted = {p.with_name("index.html") if p.name == "README.html" else p for p in wanted}

    built = {path.relative_to(site) for path in site.rglob("*.html")}

    assert wanted - built == set()
    problems = {p.stem for p in (REPOSITORY / "registry/deltareg/explain").glob("*.md")}
    assert {p.stem for p in built if p.parent == Path("problems")} == problems | {"index"}


@pytest.mark.slow
def test_a_reader_fetches_nothing(site):
    """No script, style, font or picture of elsewhere; links that a reader may follow stay."""
    fetched = re.compile(
        r"""<(?:script|img|iframe|source)[^>]+src="(?:https?:)?//[^"]*|<link[^>]+"""
        r"""(?:stylesheet|preconnect|icon)[^>]+href="(?:https?:)?//[^"]*|@import|url\(["']?http"""
    )

    found = {
        str(path.relative_to(site)): match[0]
        for path in [*site.rglob("*.html"), *site.rglob("*.css")]
        if (match := fetched.search(path.read_text(encoding="utf-8")))
    }

    assert found == {}


@pytest.mark.slow
def test_the_reference_shows_what_the_client_does(site):
    page = (site / "python.html").read_text(encoding="utf-8")

    for name in ("client.client.Client", "errors.DeltaregError", "errors.BaseMismatch"):
        assert f'id="deltareg.{name}"' in page, name
    assert page.count("doc-function") > 50


@pytest.mark.slow
def test_a_list_is_a_list_as_it_is_on_github(site):
    decision = (site / "adr" / "0006-ledger.html").read_text(encoding="utf-8")
    changes = (site / "changelog.html").read_text(encoding="utf-8")

    assert "<li>A label that is overwritten." in re.sub(r"<li>\s*(<p>)?", "<li>", decision)
    assert re.search(r"<li>(?:(?!</li>).)*<ul>\s*<li>LoRA with rsLoRA", changes, flags=re.S)


@pytest.mark.slow
def test_the_search_works_where_files_are_opened(site):
    assert "var __index" in (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert "assets/iframe-worker.js" in (site / "index.html").read_text(encoding="utf-8")


def test_the_page_of_http_has_every_operation_and_every_object():
    page = http_page()

    for path, methods in OPENAPI["paths"].items():
        for method in methods:
            assert f"\n### `{method.upper()} {path}`\n" in page
    anchors = set(re.findall(r"\{ #(\S+) \}", page))
    assert len(anchors) == len(OPENAPI["components"]["schemas"])
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors
