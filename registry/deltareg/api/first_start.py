"""The first start of an embedded server: folder, schema, and a token that the CLI finds."""

import logging
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from deltareg.api.settings import ServerSettings
from deltareg.db.access.principals import count_tokens, end_tokens_of
from deltareg.db.session import check_schema, create_engine, read, write
from deltareg.errors import DeltaregError, DiskFull, Misconfigured
from deltareg.host.machine import this_host
from deltareg.host.token_files import read_token, write_token
from deltareg.service.access.keys import enrol_own_worker
from deltareg.service.access.tokens import bootstrap_token, is_live, mint_secret
from deltareg.service.registry import Registry
from deltareg.signing.key_file import read_or_make_key
from deltareg.signing.keys import SigningKey
from deltareg.signing.secret_box import SecretBox, read_or_make_box
from deltareg.wire import Scope

log = logging.getLogger(__name__)

ADMIN = "admin"
LOCAL_WORKER = "local-worker"
ADMIN_SCOPES: list[Scope] = ["read", "push", "promote", "admin"]
_ADMIN_FILE = "admin-token"
_LEAST_FREE_BYTES = 16_000_000


def prepare_data_dir(folder: Path) -> None:
    """Create the data folder, for this user only.

    Raises:
        Misconfigured: It cannot be created or written.
        DiskFull: There is no room for a database.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise Misconfigured(
            f"cannot write to the data folder {folder}: {error.strerror}", fix="choose another one: --data-dir DIR"
        ) from error
    if free_bytes < _LEAST_FREE_BYTES:
        raise DiskFull(
            f"the disk of {folder.absolute()} has {free_bytes / 1e6:.1f} MB left, and a registry needs"
            f" {_LEAST_FREE_BYTES / 1e6:.0f} MB to start",
            fix="make room there, or choose another folder: --data-dir DIR",
        )


def migrate_embedded(settings: ServerSettings) -> None:
    """Bring an embedded SQLite database to the schema of this release.

    A server never changes a PostgreSQL database: there, `deltareg server migrate` runs once before
    the servers start.

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


def local_token(registry: Registry, settings: ServerSettings, url: str) -> Path | None:
    """Create the first admin's token, and store it where this user's CLI finds it.

    The token is created once for a database and kept in the data folder; a later start under
    another address only writes it again for the CLI. A registry with tokens but no such file is
    left alone: its admins have their own.

    Returns:
        The file of the CLI that holds the token; None if nothing was written.
    """
    path = settings.data_dir / _ADMIN_FILE
    with read(registry.engine) as conn:
        is_new = count_tokens(conn) == 0
    if not path.exists():
        if not is_new:
            return None
        # On disk before it is in the database: a start that is killed in between is done again.
        _write_private(path, mint_secret("pat"))
    secret = path.read_text().strip()
    if is_new:
        try:
            bootstrap_token(
                registry, principal=ADMIN, kind="pat", scopes=ADMIN_SCOPES, secret=secret, also_held=["break-glass"]
            )
        except IntegrityError:  # another replica, which starts at this moment, was quicker
            if not is_live(registry, f"Bearer {secret}"):  # with a folder and a token of its own
                path.unlink()
                return None
    if read_token(url) == secret:
        return None
    return write_token(url, secret)


def local_worker_token(registry: Registry) -> str:
    """Create the token of this start's workers, which can verify and nothing else.

    This ends the tokens of earlier starts, so that stopped processes leave no live token behind.
    """
    with write(registry.engine) as conn:
        end_tokens_of(conn, LOCAL_WORKER)
    return bootstrap_token(
        registry, principal=LOCAL_WORKER, kind="wrk", scopes=["read", "verify"], secret=mint_secret("wrk")
    )


def server_key(settings: ServerSettings) -> SigningKey | None:
    """Read the server's own key, or create it; None if that fails at the default path.

    A server without a key works, but signs no answer of its gate.

    Raises:
        Misconfigured: The key that the settings name cannot be read or created.
    """
    path = settings.effective_signing_key
    try:
        key, is_new = read_or_make_key(path)
    except Misconfigured as error:
        if settings.signing_key is not None or path.exists():
            raise
        log.warning("answers of the gate are not signed: %s; set DELTAREG_SIGNING_KEY", error)
        return None
    if is_new:
        log.info("made the server's key %s in %s", key.keyid[:12], path)
    return key


def webhook_box(settings: ServerSettings) -> SecretBox | None:
    """Read the key for webhooks, or create it; None if the settings have no file for it.

    Raises:
        Misconfigured: It cannot be read or created.
    """
    path = settings.effective_webhook_key
    return None if path is None else read_or_make_box(path)


def local_worker_key(registry: Registry, settings: ServerSettings) -> dict[str, str]:
    """Read or create the key of this machine's workers and enrol it; return their environment."""
    path = settings.data_dir.absolute() / "workers" / "key.pem"
    key, _ = read_or_make_key(path)
    enrolled = enrol_own_worker(registry, LOCAL_WORKER, key.public, host=this_host())
    if enrolled.state != "live":
        log.warning(
            "the key of the workers here is %s, and they take no runs; to give them a new one,"
            " remove %s and start again",
            enrolled.state,
            path,
        )
    return {"DELTAREG_WORKER_KEY_FILE": str(path), "DELTAREG_WORKER_HOST": enrolled.host}


def _is_current(url: str) -> bool:
    """Whether there is nothing to migrate; to know this saves half a second of each start.

    A later release may have expanded it: then it stays as it is.
    """
    engine = create_engine(url)
    try:
        check_schema(engine)
    except (DeltaregError, SQLAlchemyError):  # the migration says what is wrong with it
        return False
    else:
        return True
    finally:
        engine.dispose()


def _write_private(path: Path, secret: str) -> None:
    """Write a secret to a file of this user's, unless another process has just done so."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
