"""The first start of an embedded server: folder, schema, and a token that the CLI finds."""

import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from deltareg.db import HEAD
from deltareg.db.queries.principals import count_tokens
from deltareg.db.session import create_engine, read, schema_head
from deltareg.errors import DeltaregError, Misconfigured
from deltareg.service.registry import Registry
from deltareg.service.tokens import bootstrap_token
from deltareg.settings import Settings
from deltareg.token_files import read_token, write_token

ADMIN = "admin"
_ADMIN_FILE = "admin-token"


def prepare_data_dir(folder: Path) -> None:
    """Make the data folder, for this user only.

    Raises:
        Misconfigured: It cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Misconfigured(
            f"cannot write to the data folder {folder}: {error.strerror}",
            fix="choose another one: --data-dir DIR",
        ) from error


def migrate_embedded(settings: Settings) -> None:
    """Bring an embedded SQLite database to the schema of this release.

    A PostgreSQL database is never changed by a server: there, `deltareg server migrate` runs once
    before the servers start.

    Raises:
        Misconfigured: The migration failed; its own message is in the error.
    """
    url = settings.effective_database_url
    if not url.startswith("sqlite") or _is_current(url):
        return
    command = [sys.executable, "-m", "deltareg_migrations", "--url", url, "upgrade"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # ours
    if done.returncode != 0:
        raise Misconfigured(
            f"the database could not be migrated: {done.stderr.strip()[-500:]}",
            fix="restore the file from a backup, or start with another --data-dir",
        )


def local_token(registry: Registry, settings: Settings, url: str) -> Path | None:
    """Make the first admin's token and keep it where this user's CLI finds it.

    The token is made once for a database and kept in the data folder; a later start under another
    address only writes it again for the CLI. A registry that has tokens and no kept one is left
    alone: its admins have theirs.
    """
    kept = settings.data_dir / _ADMIN_FILE
    if kept.exists():
        secret = kept.read_text().strip()
    else:
        with read(registry.engine) as conn:
            if count_tokens(conn) > 0:
                return None
        secret = bootstrap_token(
            registry, principal=ADMIN, kind="pat", scopes=["read", "push", "promote", "admin"]
        )
        _write_private(kept, secret)
    if read_token(url) == secret:
        return None
    return write_token(url, secret)


def _is_current(url: str) -> bool:
    """Whether there is nothing to migrate; a start of half a second less is a shorter outage."""
    engine = create_engine(url)
    try:
        return schema_head(engine) == HEAD
    except (DeltaregError, SQLAlchemyError):  # the migration says what is wrong with it
        return False
    finally:
        engine.dispose()


def _write_private(path: Path, secret: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
