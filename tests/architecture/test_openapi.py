"""The HTTP surface changes on purpose: what the app says stands in docs, for all to see."""

import pytest

from tests.architecture.generate_openapi import APP, PAGE, generate
from tests.architecture.generated import is_current

pytestmark = pytest.mark.skipif(not APP.is_file(), reason="needs deltareg.api.app")


def test_the_kept_document_is_what_the_app_says():
    assert is_current(PAGE, generate()), "docs/openapi.json is behind the app; run: make docs"
