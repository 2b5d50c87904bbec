"""Storage figures on the wire: what is stored and what was saved."""

from typing import Literal

from deltareg.wire.messages import Answer
from deltareg.words import StorageView


class StorageFigures(Answer):
    """What some versions and bases hold, would hold as files, and how the difference came about.

    `pack_bytes` are whole packs, and equal `logical_bytes` less what was saved by the three
    means, plus `framing_bytes`. `manifest_bytes` and `map_bytes` are kept in the
    database, compressed. `unchanged_bytes` are the part of `saved_by_dedup` that is no other
    version's doing. `ratio` is the logical bytes over packs, manifests and storage maps together,
    null where there is nothing.
    """

    versions: int
    bases: int
    logical_bytes: int
    pack_bytes: int
    manifest_bytes: int
    map_bytes: int
    ratio: float | None
    saved_by_references: int
    saved_by_dedup: int
    saved_by_entropy: int
    unchanged_bytes: int
    framing_bytes: int


class StorageRow(StorageFigures):
    """The figures of a part; a namespace and the plain bases also have what lies beside packs.

    `rest` stands for all parts that are smaller than those listed; its name counts them.
    """

    of: Literal["namespace", "bases", "line", "version", "base", "kind", "rest"]
    name: str
    garbage_bytes: int | None = None
    upload_bytes: int | None = None


class StoreBytes(Answer):
    """Every byte in the store: of packs that are needed, awaiting collection, and being pushed."""

    pack_bytes: int
    garbage_bytes: int
    upload_bytes: int
    total_bytes: int


class StorageReport(Answer):
    """What is stored of the registry, or of a part of it.

    `parts` are namespaces and the plain bases, or lines, or versions, the largest first; `kinds`
    are the same bytes by kind. `store` is there for the registry and for a namespace.
    """

    of: StorageView
    name: str
    total: StorageFigures
    store: StoreBytes | None
    parts: list[StorageRow]
    kinds: list[StorageRow]
