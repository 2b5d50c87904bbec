"""The cards of versions: read at the push, shown, and indexed for search."""

import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from deltareg.db.lines import search as queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.db.storage.packs import physical_keys
from deltareg.db.storage.shares import PackHolder
from deltareg.digest import Digest, sha256_of
from deltareg.documents.model_card import CARD_FILE, MOST_CARD_BYTES, ModelCard, read_card
from deltareg.errors import IntegrityFailure, NotFound
from deltareg.identity.manifest import Manifest, ManifestFile
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.corrupt import refuse_corrupt
from deltareg.service.deleted import refuse_deleted
from deltareg.service.describe import ref_of
from deltareg.service.digest_cache import decode_manifest
from deltareg.service.lines.terms import terms_of
from deltareg.service.readback import Readback
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.service.resolve import find_version
from deltareg.store import BlobStore
from deltareg.wire import CardInfo, CardResult

_EMPTY: Final = ModelCard()
_CARD: Final = TypeAdapter(ModelCard)
_METRIC = "metric."
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_FIX = "write a README.md into the folder before it is pushed"


def show_card(registry: Registry, caller: Caller, ref: Ref, *, with_text: bool) -> CardInfo:
    """Show what the card of a version says, and with `with_text` also its text.

    Raises:
        NotFound: The version has no README.md, or there is no such version.
        Blocked: The version is deleted, and the text was asked for.
        Corrupt: The stored bytes are not those of the version.
    """
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        row = find_version(conn, caller, ref, bare="newest")
        documents = version_queries.content(conn, row.id)
        manifest = decode_manifest(row.manifest_digest, lambda: documents.manifest)
        file = _file_of(manifest)
        if file is None:
            raise NotFound(f"{ref_of(row)} has no {CARD_FILE}", fix=_FIX)
        card = queries.card_of(conn, row.id)
        if card is not None and not with_text:
            return _describe(unpack_card(card), row)
        refuse_deleted(row)
        refuse_corrupt(conn, caller, PackHolder(row.id), ref_of(row))
        readback = stored_as(conn, registry.store, row.namespace, documents.storage_map)
    if file.size_bytes > MOST_CARD_BYTES:
        return _describe(card_in(readback, manifest) or _EMPTY, row)
    raw = _bytes_in(readback, file)
    text = raw.decode("utf-8-sig", "replace") if with_text else ""
    return _describe(read_card(raw), row, text=text)


def keep_card(conn: sa.Connection, row: VersionRow, card: ModelCard | None) -> None:
    """Index a version by its card and its other facts, so that a search finds it.

    Doing it again changes nothing. None means that the version has no card.
    """
    queries.put_card(conn, row.id, None if card is None else pack_card(card))
    known_card = card or _EMPTY
    queries.change_terms(conn, row.id, add=terms_of(row, known_card))
    queries.replace_metrics(
        conn, row.id, queries.CARD, {metric.name.lower(): metric.value for metric in known_card.metrics}
    )
    keep_metrics(conn, row.id)


def keep_metrics(conn: sa.Connection, version_id: int) -> None:
    """Index the checks of a version's newest verdicts and its labels as metrics."""
    labels = version_queries.version_by_id(conn, version_id).labels
    queries.replace_metrics(conn, version_id, queries.LABEL, metrics_of_labels(labels))
    for suite, checks in queries.newest_checks(conn, version_id).items():
        queries.replace_metrics(conn, version_id, suite, metrics_of_checks(checks))


def relabel(conn: sa.Connection, after: VersionRow, *, before: VersionRow) -> None:
    """Update the search index after a change of what is said of a version, or of its names."""
    document = queries.card_of(conn, after.id)
    if document is None and not queries.is_read(conn, after.id):
        return
    card = _EMPTY if document is None else unpack_card(document)
    old, new = terms_of(before, card), terms_of(after, card)
    queries.change_terms(conn, after.id, add=new - old, drop=old - new)
    queries.replace_metrics(conn, after.id, queries.LABEL, metrics_of_labels(after.labels))


def card_in(stored: Readback, manifest: Manifest) -> ModelCard | None:
    """Read the card among stored files; None where there is none. A bad card raises no error.

    Raises:
        IntegrityFailure: The stored bytes are not those that the manifest lists.
    """
    file = _file_of(manifest)
    if file is None:
        return None
    if file.size_bytes > MOST_CARD_BYTES:
        message = f"it has {file.size_bytes:,} bytes, and {MOST_CARD_BYTES:,} are read at most"
        return ModelCard(problems=(message,))
    return read_card(_bytes_in(stored, file))


def card_bytes_in(stored: Readback, manifest: Manifest) -> bytes:
    """Return the bytes of the card among stored files; empty where there is none, or too long a one.

    Raises:
        IntegrityFailure: The stored bytes are not those that the manifest lists.
    """
    file = _file_of(manifest)
    return b"" if file is None or file.size_bytes > MOST_CARD_BYTES else _bytes_in(stored, file)


def _file_of(manifest: Manifest) -> ManifestFile | None:
    return next((file for file in manifest.files if file.path == CARD_FILE), None)


def _bytes_in(stored: Readback, file: ManifestFile) -> bytes:
    raw = stored.file_part(file)
    if sha256_of(raw) != file.digest:
        raise IntegrityFailure(f"{CARD_FILE} is not what its sha256 says", fix="push it again with a current client")
    return raw


def stored_as(conn: sa.Connection, store: BlobStore, namespace: str, storage_map: bytes) -> Readback:
    """Return a reader of the files of a version as stored now, from its sound packs."""
    storage = StorageMap.decode(storage_map)
    digests = [str(pack.digest) for pack in storage.packs]
    locations = physical_keys(conn, namespace_scope(namespace), digests)
    keys = {Digest.parse(digest): key for digest, (key, _) in locations.items()}
    return Readback(store, keys, storage)


def metrics_of_checks(checks: Iterable[Mapping[str, object]]) -> dict[str, float]:
    """Return the numeric results of checks, by check name."""
    metrics: dict[str, float] = {}
    for check in checks:
        value = check.get("value")
        if isinstance(value, int | float) and not isinstance(value, bool):
            metrics[str(check.get("name", "")).lower()] = float(value)
    return metrics


def metrics_of_labels(labels: Mapping[str, str]) -> dict[str, float]:
    """Return the numbers in labels: `metric.accuracy=0.93`, as whoever trained it wrote it."""
    metrics: dict[str, float] = {}
    for key, text in labels.items():
        name = key.removeprefix(_METRIC).lower()
        if key.startswith(_METRIC) and name and _NUMBER.fullmatch(text):
            value = float(text)
            if isfinite(value):
                metrics[name] = value
    return metrics


def pack_card(card: ModelCard) -> bytes:
    """Encode a card as its row stores it."""
    return _CARD.dump_json(card)


def unpack_card(document: bytes) -> ModelCard:
    """Decode what `pack_card` wrote; fields of later releases are left out."""
    return _CARD.validate_json(document)


def _describe(card: ModelCard, row: VersionRow, *, text: str = "") -> CardInfo:
    return CardInfo(
        ref=ref_of(row),
        title=card.title,
        summary=card.summary,
        license=card.license,
        task=card.task,
        library=card.library,
        languages=list(card.languages),
        tags=list(card.tags),
        datasets=list(card.datasets),
        base_models=list(card.base_models),
        metrics=[
            CardResult(name=one.name, value=one.value, dataset=one.dataset, task=one.task) for one in card.metrics
        ],
        problems=list(card.problems),
        text=text,
    )
