"""Every setting says what it does, and the page of the settings is current."""

import pytest

from tests.architecture.generate_settings_docs import PAGE, classes, generate, variables
from tests.architecture.generated import is_current

FIELDS = [(name, field) for cls in classes().values() for name, field in variables(cls)]


@pytest.mark.parametrize("field", [field for _, field in FIELDS], ids=[name for name, _ in FIELDS])
def test_a_setting_says_what_it_does(field):
    assert field.description


def test_every_variable_starts_with_the_name_of_the_project():
    assert [name for name, _ in FIELDS if not name.startswith("DELTAREG_")] == []


def test_the_page_lists_every_setting():
    assert is_current(PAGE, generate()), "docs/settings.md is behind the code; run: make docs"
