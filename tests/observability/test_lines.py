"""The log: times with zone, a line for each request, and never a secret."""

import io
import json
import logging
from datetime import datetime

import pytest

from deltareg.api.log_lines import JsonLineFormatter, TextLineFormatter
from deltareg.host.secrets_left_out import LEFT_OUT, leave_out_secrets
from deltareg.host.time_spent import SPENT, TimeSpent
from deltareg.service.access.tokens import mint_secret

KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----"
SECRETS = {
    f"no token {mint_secret('pat')} is known": "drg_",
    "postgresql://ada:p4ss%40word@db/registry does not answer": "p4ss",
    "Authorization: Bearer abc.def": "abc.def",
    "GET /b?X-Amz-Credential=AKIA123%2F&X-Amz-Signature=f00ba4&X-Amz-Expires=60": "f00ba4",
    "connect host=db password=hunter2 dbname=x": "hunter2",
    '{"client_secret": "s3cr3t-of-oidc"}': "s3cr3t",
    "an assertion eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl of it": "eyJ",
    f"a key {KEY}": "MC4CAQ",
}


@pytest.fixture
def lines():
    """Give a function that logs by a form, and what it wrote."""
    written = io.StringIO()

    def log(form, *args, **given):
        handler = logging.StreamHandler(written)
        handler.setFormatter(form)
        logger = logging.getLogger("deltareg.access")
        logger.addHandler(handler)
        logger.warning(*args, **given)
        logger.removeHandler(handler)
        return written.getvalue()

    return log


def test_a_line_of_json_has_time_with_zone_level_request_and_fields(lines):
    spent = SPENT.set(TimeSpent("r-1"))
    line = json.loads(lines(JsonLineFormatter(), "request", extra={"fields": {"status": 200}}))
    SPENT.reset(spent)

    assert datetime.fromisoformat(line.pop("at")).utcoffset() is not None
    assert line == {
        "level": "warning",
        "logger": "deltareg.access",
        "event": "request",
        "status": 200,
        "request_id": "r-1",
    }


def test_a_line_of_text_says_the_same(lines):
    at, rest = lines(TextLineFormatter(), "request", extra={"fields": {"status": 200, "by": ""}}).split(" ", 1)

    assert datetime.fromisoformat(at).utcoffset() is not None
    assert rest == "WARNING deltareg.access: request status=200\n"


@pytest.mark.parametrize("text", SECRETS, ids=range(len(SECRETS)))
def test_no_line_has_a_secret(lines, text):
    for form in (JsonLineFormatter(), TextLineFormatter()):
        line = lines(form, "it failed: %s", text, exc_info=ValueError(text))

        assert SECRETS[text] not in line
        assert LEFT_OUT in line


@pytest.mark.parametrize(
    "text", ["team/code:v3 passes", "sha256:" + "ab" * 32, "token 3 of ada ended", "see https://docs/x?page=2"]
)
def test_what_is_no_secret_stays(text):
    assert leave_out_secrets(text) == text
