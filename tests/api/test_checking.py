"""`server check` looks at all keys, and says what to do about each."""

import base64
import os

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from deltareg.api.first_start import with_keys
from deltareg.api.opening import opened_registry, read_settings
from deltareg.api.serve import server
from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.errors import Misconfigured
from deltareg.service.telling.sealed import count_sealed, seal_anew
from deltareg.service.telling.signature import about_address, about_secret
from deltareg.signing.secret_box import SecretBox, read_or_make_box
from tests.service import rows

NAME = "wh_0000000000000001"


@pytest.fixture
def settings(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.setenv("DELTAREG_DATABASE_URL", str(sqlite_url))
    monkeypatch.setenv("DELTAREG_DATA_DIR", str(tmp_path / "data"))
    return read_settings()


@pytest.fixture
def registry(settings):
    with opened_registry(settings) as opened:
        keyed = with_keys(opened, settings)
        seal_webhook(keyed)
        yield keyed


def seal_webhook(registry):
    """Make a webhook, whose address and secret are sealed."""
    root = rows.caller(registry.engine, "root").principal_id
    values = {"id": NAME, "lines": "", "types": ["*"], "form": "cloudevents", "shown": "x", "note": "", "state": "on"}
    values |= {"why": "", "answers_id": root, "created_by": root}
    with write(registry.engine) as conn:
        address = registry.box.seal("https://hook.example/", about_address(NAME))
        conn.execute(sa.insert(t.webhooks).values(**values, address=address))
        secret = registry.box.seal("s", about_secret(NAME))
        conn.execute(sa.insert(t.webhook_secrets).values(webhook_id=NAME, sealed=secret))


def checked(*words):
    return CliRunner().invoke(server, ["check", *words])


def new_line():
    return base64.b64encode(os.urandom(32)) + b"\n"


def test_all_is_well(registry):
    done = checked()

    assert done.exit_code == 0, done.output
    assert f"{registry.signer.keyid[:16]}, in the database, sealed" in done.output
    assert "3 secrets in the database open" in done.output
    assert "FAILS" not in done.output


def test_another_key_to_seal_with_is_told_by_what_it_does_not_open(registry, settings):
    settings.effective_webhook_key.write_bytes(new_line())

    done = checked()

    assert done.exit_code != 0
    assert "3 of 3 secrets in the database cannot be opened here" in done.output
    assert "DELTAREG_WEBHOOK_KEY" in done.output


def test_the_key_to_seal_with_is_rotated_line_by_line(registry, settings):
    path = settings.effective_webhook_key
    old, new = path.read_bytes(), new_line()
    path.write_bytes(old + new)  # on all servers: each opens what either seals
    before = read_or_make_box(path)
    path.write_bytes(new + old)
    both = read_or_make_box(path)
    early = both.seal("x", "y")
    assert before.open(early, "y") == "x"
    assert count_sealed(registry).closed == 0
    assert "3 under a former key" in checked().output

    done = CliRunner().invoke(server, ["keys", "reseal"])
    path.write_bytes(new)

    assert done.output.startswith("sealed 3 secrets under ")
    assert seal_anew(registry, both) == 0
    assert checked().exit_code == 0
    with opened_registry(settings) as opened:
        again = with_keys(opened, settings).signer
    assert again is not None
    assert again.keyid == registry.signer.keyid


def test_a_key_in_no_line_changes_nothing(registry):
    other, _ = SecretBox.generate()
    with read(registry.engine) as conn:
        before = conn.execute(sa.select(t.webhooks.c.address)).scalars().all()

    with pytest.raises(Misconfigured, match="sealed under the key"):
        seal_anew(registry, other)

    with read(registry.engine) as conn:
        assert conn.execute(sa.select(t.webhooks.c.address)).scalars().all() == before


def test_a_host_without_the_servers_key_is_told_what_to_set(registry, tmp_path):
    (tmp_path / "elsewhere").mkdir()

    done = checked("--data-dir", str(tmp_path / "elsewhere"))

    assert done.exit_code != 0
    assert f"{registry.signer.keyid[:16]} is not here" in done.output
