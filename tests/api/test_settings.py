"""The server's settings: what cannot be read is named, and what they mean."""

import pytest
from sqlalchemy.pool import QueuePool

from deltareg.api.opening import check_keys, read_settings
from deltareg.db.session import create_engine
from deltareg.errors import Misconfigured
from deltareg.signing.key_file import read_or_make_key


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


@pytest.mark.parametrize("name", ["TLS_CERT", "TLS_KEY", "SIGNING_KEY", "WEBHOOK_KEY", "SIGSTORE_TRUST"])
def test_a_file_that_is_named_has_to_be_there(monkeypatch, tmp_path, name):
    monkeypatch.setenv(f"DELTAREG_{name}", str(tmp_path / "absent"))

    with pytest.raises(Misconfigured, match=f"there is no file {tmp_path}/absent"):
        check_keys(read_settings(data_dir=tmp_path))


def test_files_that_a_first_start_makes_may_be_missing_and_are_read_where_they_are(tmp_path):
    settings = read_settings(data_dir=tmp_path)
    assert check_keys(settings) == []
    read_or_make_key(tmp_path / "server-key.pem")
    assert check_keys(settings) == [tmp_path / "server-key.pem"]

    (tmp_path / "server-key.pem").chmod(0o644)

    with pytest.raises(Misconfigured, match="others can read"):
        check_keys(settings)


def test_a_server_opens_as_many_connections_as_it_may(monkeypatch, tmp_path):
    monkeypatch.setenv("DELTAREG_DATABASE_CONNECTIONS", "5")
    settings = read_settings(data_dir=tmp_path)
    engine = create_engine("postgresql+psycopg://none/none", connections=settings.database_connections)

    assert isinstance(engine.pool, QueuePool)
    assert (engine.pool.size(), engine.pool._max_overflow) == (1, 4)
