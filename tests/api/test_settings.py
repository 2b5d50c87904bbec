"""The server's settings: what cannot be read is named, and what they mean."""

import pytest

from deltareg.api.opening import read_settings
from deltareg.errors import Misconfigured


@pytest.mark.parametrize(("name", "text"), [("DELTAREG_PORT", "abc"), ("DELTAREG_RUN_LOG_DAYS", "-1")])
def test_a_setting_that_cannot_be_read_is_named(monkeypatch, name, text):
    monkeypatch.setenv(name, text)

    with pytest.raises(Misconfigured, match=name) as refused:
        read_settings()

    assert name in refused.value.fix


@pytest.mark.parametrize(("text", "keep_s"), [("30", 2_592_000), ("0.5", 43_200), ("0", None)])
def test_logs_of_runs_are_kept_for_days_or_for_ever(monkeypatch, text, keep_s):
    monkeypatch.setenv("DELTAREG_RUN_LOG_DAYS", text)

    assert read_settings().keep_logs_s == keep_s
