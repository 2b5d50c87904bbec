"""What an audit says: what is known, or plainly that nobody could be asked."""

import json

import pytest

from tests.locks.audit import findings

FINE = {"name": "click", "version": "8.5.1", "vulns": []}
BAD = {"name": "jinja2", "version": "3.1.2", "vulns": [{"id": "PYSEC-2024-1", "fix_versions": ["3.1.3"]}]}
SKIPPED = {"name": "tiny", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def answer(*dependencies):
    """Write what pip-audit writes."""
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_what_is_known_is_told():
    assert findings(answer(FINE, BAD), "") == ["jinja2 3.1.2: PYSEC-2024-1, gone in 3.1.3"]


def test_nothing_known_is_nothing_told():
    assert findings(answer(FINE), "") == []


def test_a_package_that_was_not_audited_is_told():
    assert findings(answer(FINE, SKIPPED), "") == [SKIPPED["skip_reason"]]


def test_an_index_that_knows_of_no_package_was_not_asked():
    with pytest.raises(ConnectionError):
        findings(answer(SKIPPED, SKIPPED), "")


def test_a_service_that_is_not_reached_is_no_finding():
    with pytest.raises(ConnectionError):
        findings("", "requests.exceptions.ConnectionError: Failed to resolve")


def test_a_tool_that_fails_otherwise_fails_the_audit():
    with pytest.raises(SystemExit):
        findings("", "usage: pip-audit")
