"""The HTTP surface changes on purpose: what the app says stands in docs, for all to see."""

import json

import pytest

from tests.architecture.generate_openapi import APP, PAGE, generate

pytestmark = pytest.mark.skipif(not APP.is_file(), reason="needs deltareg.api.app")

OF_THE_FRAMEWORK = ("HTTPValidationError", "ValidationError")  # their words follow its releases


def ours(text):
    """Read an OpenAPI document without the schemas that the framework puts in."""
    document = json.loads(text)
    for name in OF_THE_FRAMEWORK:
        document["components"]["schemas"].pop(name, None)
    return document


def test_the_kept_document_is_what_the_app_says():
    assert ours(PAGE.read_text()) == ours(generate()), "docs/openapi.json is behind; run: make docs"
