"""What a backup is: its manifest, signed by the server, and its catalog, which names all of its parts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deltareg.db.sql.clock import US_PER_S
from deltareg.db.upkeep.table_rows import ColumnKind, TableLayout
from deltareg.documents.json_values import parse_json
from deltareg.errors import IntegrityFailure, InvalidInput
from deltareg.signing.envelopes import decode_base64, open_envelope, seal
from deltareg.signing.keys import PublicKey, SigningKey

PAYLOAD_TYPE = "application/vnd.deltareg.backup+json"
FORMAT = 1
_LATEST_US = 253_402_300_799 * US_PER_S  # the last second of the year 9999
_NO_BACKUP = "take another one; deltareg server verify-backup says which are whole"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BackupManifest(_Strict):
    """The public facts of a backup; everything else is in its catalog.

    Attributes:
        format: The number of this format.
        taken_us: The database's time at its snapshot, µs since the epoch.
        release: The release that took it.
        signed_by: The public key that signed it.
        mark: Tells its objects from those encrypted to other keys.
        is_encrypted: Whether they are encrypted.
        catalog: The sha256 of the catalog.
        rows: How many rows it has.
        blobs: How many objects of the store it has, and how many bytes they are.
        lacking: How many objects the store itself did not have whole.
        needs: The sha256 of what says which objects it needs; empty where an older release took it.
    """

    format: Literal[1]
    taken_us: int = Field(ge=0, le=_LATEST_US)
    release: str
    signed_by: str
    mark: str
    is_encrypted: bool
    catalog: str
    rows: int
    blobs: int
    blob_bytes: int
    lacking: int
    needs: str = ""

    @property
    def name(self) -> str:
        """What people call it: the time of its snapshot, UTC."""
        at = datetime.fromtimestamp(self.taken_us / US_PER_S, UTC)
        return at.strftime("%Y%m%dT%H%M%S.") + f"{self.taken_us % US_PER_S:06}Z"


class CatalogTable(_Strict):
    """A table of a backup: how many rows it has, and the segments that they lie in."""

    name: str
    columns: tuple[tuple[str, ColumnKind], ...]
    key: tuple[str, ...]
    rows: int
    segments: tuple[str, ...]

    @property
    def layout(self) -> TableLayout:
        """The table as it is copied."""
        return TableLayout(self.name, self.columns, self.key)


class BackupCatalog(_Strict):
    """All that a backup consists of.

    Attributes:
        revision: The revision of the schema.
        tables: The tables, those first that others refer to.
        blobs: Segments whose rows are the objects of the store: sha256, physical key, bytes.
        lacking: Physical keys whose objects were missing or damaged, with what was found.
        keys: The sha256 of the server's keys; empty where the backup is not encrypted.
    """

    revision: str
    tables: tuple[CatalogTable, ...]
    blobs: tuple[str, ...]
    lacking: Mapping[str, str]
    keys: str


def sign_manifest(manifest: BackupManifest, key: SigningKey) -> bytes:
    """Sign a manifest."""
    return seal(json.dumps(manifest.model_dump()).encode(), key, payload_type=PAYLOAD_TYPE)


def read_manifest(envelope: bytes) -> BackupManifest:
    """Read a manifest and verify its signature by the key that it names.

    Whether that key is the one that is meant is for whoever restores to say.

    Raises:
        IntegrityFailure: It is none, or was changed after it was signed.
    """
    try:
        body = cast("dict[str, Any]", parse_json(envelope))
        named = cast("dict[str, Any]", parse_json(decode_base64(body["payload"])))
        key = PublicKey.parse(str(named["signed_by"]))
    except (ValueError, KeyError, TypeError, InvalidInput) as error:
        raise IntegrityFailure("what lies there is no backup", fix=_NO_BACKUP) from error
    opened = open_envelope(envelope, {key.keyid: key}, payload_type=PAYLOAD_TYPE)
    try:
        return BackupManifest.model_validate_json(opened.payload)
    except ValidationError as error:
        raise IntegrityFailure("the backup is of a newer release", fix="restore it with that release") from error


def read_catalog(raw: bytes) -> BackupCatalog:
    """Read a catalog.

    Raises:
        IntegrityFailure: It is none.
    """
    try:
        return BackupCatalog.model_validate_json(raw)
    except ValidationError as error:
        raise IntegrityFailure("the catalog of the backup cannot be read", fix=_NO_BACKUP) from error


@dataclass(frozen=True, slots=True)
class BackupTotals:
    """What a backup holds, and what taking, verifying or restoring it moved.

    Attributes:
        name: Its name.
        rows: Its rows.
        blobs: Its objects of the store.
        blob_bytes: Their bytes.
        moved: Objects that were written, of rows as well.
        moved_bytes: Their bytes.
        lacking: What the store did not have whole when it was taken: keys, with what was found.
    """

    name: str
    rows: int
    blobs: int
    blob_bytes: int
    moved: int
    moved_bytes: int
    lacking: Mapping[str, str]

    def as_json(self) -> str:
        """Write it for programs."""
        return json.dumps({**asdict(self), "lacking": dict(self.lacking)})
