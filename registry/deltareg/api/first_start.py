"""The first start of an embedded server: folder, schema, and a token that the CLI finds."""

import logging
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from deltareg.api.settings import ServerSettings
from deltareg.db.access.principals import count_tokens, end_tokens_of
from deltareg.db.session import check_schema, create_engine, read, with_retry
from deltareg.db.verdicts.signing import find_key
from deltareg.drawing.wording import size
from deltareg.errors import Conflict, DeltaregError, DiskFull, Misconfigured
from deltareg.host.machine import this_host
from deltareg.host.token_files import read_token, write_token
from deltareg.service.access.keys import enrol_own_worker
from deltareg.service.access.server_keys import take_server_key
from deltareg.service.access.tokens import bootstrap_token, is_live, mint_secret
from deltareg.service.registry import Registry
from deltareg.signing.key_file import read_key, read_or_make_key
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
            f"the disk of {folder.absolute()} has {size(free_bytes)} left, and a registry needs"
            f" {size(_LEAST_FREE_BYTES)} to start",
            fix="make room there, or choose another folder: --data-dir DIR",
        )


def has_database(settings: ServerSettings) -> bool:
    """Whether there is a database to open: SQLite would create an empty one in a wrong folder."""
    path = make_url(settings.effective_database_url)
    return path.get_backend_name() != "sqlite" or Path(path.database or "").is_file()


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
                registry,
                principal=ADMIN,
                kind="pat",
                scopes=ADMIN_SCOPES,
                secret=secret,
                also_held=["break-glass"],
                only_as_first=True,
            )
        except Conflict:  # another replica, which starts at this moment, was quicker
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
    with_retry(registry.engine, lambda conn: end_tokens_of(conn, LOCAL_WORKER))
    return bootstrap_token(
        registry, principal=LOCAL_WORKER, kind="wrk", scopes=["read", "verify"], secret=mint_secret("wrk")
    )


def with_keys(registry: Registry, settings: ServerSettings) -> Registry:
    """Return a registry with the keys of its servers; where there are none yet, they are made.

    The key that servers sign with lies in the database, sealed under the one that they share; without
    such a one it lies in a file. A server without a key works, but signs no answer of its gate.

    Raises:
        Misconfigured: A key that the settings name cannot be read or made, or the servers of this registry
            sign with a key that this one does not have.
    """
    path = settings.effective_signing_key
    made: list[Path] = []

    def make() -> SigningKey | None:
        if registry.box is not None and settings.signing_key is None:
            return SigningKey.generate()
        try:
            key, is_new = read_or_make_key(path)
        except Misconfigured as error:
            if settings.signing_key is not None or path.exists():
                raise
            log.warning("answers of the gate are not signed: %s; set DELTAREG_SIGNING_KEY", error)
            return None
        made.extend([path] if is_new else [])
        return key

    registry = replace(with_own_files(registry, settings), networks=settings.webhook_networks)
    named = registry.signer
    try:
        key = take_server_key(registry, make)
    except Misconfigured:
        for each in made:  # another server was quicker: nothing knows this key
            each.unlink()
        raise
    if named is not None and key is not None and named.keyid != key.keyid:
        _report_other(registry, settings, named)
    return replace(registry, signer=key)


def with_own_files(registry: Registry, settings: ServerSettings, *, makes: bool = True) -> Registry:
    """Return a registry with the keys that lie in files here.

    Args:
        registry: The database and the store.
        settings: Where the files are.
        makes: Whether a key to seal with is made where the database lies here and there is none.

    Raises:
        Misconfigured: A file can be read by others, or holds no key.
    """
    try:
        signer = read_key(settings.effective_signing_key)
    except FileNotFoundError:
        signer = None
    path = settings.effective_webhook_key
    has_box = makes or (path is not None and path.is_file())
    return replace(registry, signer=signer, box=webhook_box(settings) if has_box else None)


def _report_other(registry: Registry, settings: ServerSettings, named: SigningKey) -> None:
    """Say that a file holds another key than the servers sign with; refuse one that the settings name and nobody knows.

    Raises:
        Misconfigured: The settings name a key that the registry does not know.
    """
    with read(registry.engine) as conn:
        known = find_key(conn, keyid=named.keyid)
    if known is None and settings.signing_key is not None:
        raise Misconfigured(
            f"DELTAREG_SIGNING_KEY names a key that this registry does not know, {named.keyid[:16]}",
            fix="unset it: the servers share a key in the database; to have a new one: deltareg server keys rotate",
        )
    log.info("%s holds a key that servers do not use any more; it may be deleted", settings.effective_signing_key)


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
