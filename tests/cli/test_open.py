"""`deltareg open`: an address that logs a browser in, once."""

import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.pages.conftest import FROM_OURS


@pytest.fixture
def opened(local_registry, processes):
    """Run the command; gives its status, output and errors."""
    local_registry.line("lora")
    token = local_registry.token("read", principal="ada")

    def run(*args):
        done = processes.deltareg("open", *args, server=local_registry.url, token=token)
        return done.wait(), done.output, done.errors

    return run


def test_the_address_leads_to_what_was_named_logged_in_once(local_registry, opened):
    status, output, _ = opened("team/lora@prod", "--no-browser", "--json")
    told = json.loads(output)
    url = urlsplit(told["url"])
    (after,) = parse_qs(url.query)["next"]

    with httpx.Client(base_url=local_registry.url, headers=FROM_OURS) as browser:
        begun = browser.post("/ui/login", data={"code": url.fragment, "next": after})
        found = browser.get(begun.headers["Location"])
        page = browser.get(found.headers["Location"], headers={"Accept": "application/json"})
        again = httpx.post(f"{local_registry.url}/ui/login", data={"code": url.fragment}, headers=FROM_OURS)

    assert (status, told["expires_in_s"]) == (0, 60)
    assert found.headers["Location"] == "/ui/deltas/team/lora/channels/prod"
    assert page.json()["now"]["version"] == 1
    assert again.status_code == 401


def test_what_is_no_reference_is_refused_before_a_code_is_made(opened):
    status, output, errors = opened("a/b/c/d", "--no-browser")

    assert (status, output) == (2, "")
    assert "not a reference" in errors
