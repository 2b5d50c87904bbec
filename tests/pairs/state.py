"""What is left: rows without what no two runs have in common, and what must hold of bytes and counts.

The model is not the registry's: rows are read as they lie, and objects are hashed here.
"""

import re
from collections import Counter
from hashlib import sha256

from deltareg.db.quotas.usage import COUNTS
from deltareg.db.tables import metadata
from deltareg.service.upkeep.counts import wrong_counts

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|wh_[0-9a-z]+|\d+")
# What only says when, by which process, or in which order: two runs of the same have nothing of it in common.
_IGNORED = {
    "alembic_version", "audit_places", "deliveries", "delivery_attempts", "event_head", "idempotency", "lease_keys",
    "log_checkpoints", "log_leaves", "log_nodes", "log_origins", "log_statements", "operations", "outbox", "pulls",
    "released_packs", "servers", "storage_changes", "token_origins", "unsealed", "upload_packs", "visibility_epochs",
    "waiting_runs", "workers", "search_terms",
}  # fmt: skip
_RANDOM = {
    "audit": {"before", "after", "token_id", "request_id", "subject"},
    "followers": {"since"},
    "namespace_requests": {"reason"},
    "packs": {"physical_key"},
    "revisions": {"verdict_ids", "token_id"},
    "runs": {"turn", "turn_inside", "lease_expires_at", "dedup_key", "request", "result", "fence"},
    "sessions": {"code_hash", "secret_hash", "bound_to"},
    "tokens": {"token_hash", "display", "claims"},
    "terms": set(),
    "verdict_envelopes": {"body"},
    "verdicts": {"environment"},
    "webhook_secrets": {"sealed"},
    "webhooks": {"address", "shown"},
}
_COUNTED = {
    "packs",
    "versions",
    "deltas",
    "uploads",
    "upload_packs",
    "version_packs",
    "form_packs",
    "base_packs",
    "namespaces",
}
_HOLDERS = {"version_packs": "version_id", "base_packs": "base_id", "form_packs": "form_id"}


# A share belongs to a row of two columns; each of them leads to a row of its own.
_TARGETS = {
    "version_id": metadata.tables["versions"].c.id,
    "base_id": metadata.tables["bases"].c.id,
    "pack_id": metadata.tables["packs"].c.id,
}


def read_rows(engine, names):
    """Read all rows of tables, by table."""
    with engine.connect() as conn:
        return {name: [dict(row) for row in conn.exec_driver_sql(f"SELECT * FROM {name}").mappings()] for name in names}


def canonical(rows):
    """Give rows as counts of their contents: a reference is what it leads to, a number of a row is nothing."""
    reader = _Reader(rows)
    return {
        name: Counter(reader.contents(name, row) for row in _kept(name, rows))
        for name in metadata.tables
        if name not in _IGNORED and not name.startswith("hub_")
    }


def _kept(name, rows):
    """Leave out what is as good as nothing: ended uploads, packs that nothing needs, counts of nothing."""
    if name == "uploads":
        return [row for row in rows[name] if row["state"] == "open"]
    if name == "packs":
        needed = {row["pack_id"] for holder in _HOLDERS for row in rows[holder]}
        return [row for row in rows[name] if row["id"] in needed]
    if name == "quota_usage":
        return [row for row in rows[name] if any(row[count] for count in COUNTS)]
    return rows[name]


class _Reader:
    """Reads rows as contents that two executions have in common."""

    def __init__(self, rows):
        self._rows = rows
        self._by_column, self._made = {}, {}

    def contents(self, name, row, depth=0):
        key = (name, id(row))
        if key not in self._made:
            self._made[key] = ()  # for a row that leads back to itself
            self._made[key] = tuple(
                (column.name, self._value(column, row[column.name], depth))
                for column in metadata.tables[name].columns
                if column.name != "id" and column.name not in _RANDOM.get(name, ())
            )
        return self._made[key]

    def _value(self, column, found, depth):
        if found is None:
            return None
        if column.foreign_keys:
            return self._reference(column, found, depth)
        if column.name.endswith(("_at", "_until", "_us")) and isinstance(found, int):
            return "then"
        if isinstance(found, bytes | memoryview):
            return sha256(bytes(found)).hexdigest()
        return _UUID.sub("#", str(found)) if isinstance(found, str | dict | list) else str(found)

    def _reference(self, column, found, depth):
        target = _TARGETS.get(column.name, next(iter(column.foreign_keys)).column)
        if target.table.name in {"audit", "tokens", "verdicts", "runs"} or depth > 6:
            return "one"
        key = (target.table.name, target.name)
        if key not in self._by_column:
            self._by_column[key] = {row[target.name]: row for row in self._rows[target.table.name]}
        parent = self._by_column[key].get(found)
        return "gone" if parent is None else hash(self.contents(target.table.name, parent, depth + 1))


def differences(left, expected):
    """List what is in one of two states and not in the other, for people."""
    found = []
    for name, counts in left.items():
        for sign, some in (("+", counts - expected[name]), ("-", expected[name] - counts)):
            found += [f"{sign} {name} {short(row)}" for row in some]
    return found


def short(row):
    return ", ".join(f"{name}={str(value)[:60]}" for name, value in row if value not in {None, "then"})[:400]


def broken_promises(engine, store, rows, changed):
    """List what does not hold of bytes and counts, whatever ran: empty if all is well."""
    if not _COUNTED & set(changed):
        return []
    problems = []
    packs = {row["id"]: row for row in rows["packs"]}
    scopes = _scopes(rows)
    for table, column in _HOLDERS.items():
        for row in rows[table]:
            pack, holder = packs[row["pack_id"]], (column, row[column])
            if holder not in scopes:
                continue
            if pack["state"] != "live":
                problems.append(f"{holder} needs pack {pack['digest'][:16]}, which is {pack['state']}")
            if scopes[holder] is not None and pack["scope"] != scopes[holder]:
                problems.append(f"{holder} lies in {scopes[holder]}, its pack {pack['digest'][:16]} in {pack['scope']}")
            problems += _wrong_object(store, pack)
    problems += [f"count: {one.detail}" for one in wrong_counts(engine)]
    return problems


def _scopes(rows):
    """Return where the packs of each version, form and base have to lie; None where any place is right."""
    namespaces = {row["id"]: row["name"] for row in rows["namespaces"]}
    lines = {row["id"]: f"ns:{namespaces[row['namespace_id']]}" for row in rows["deltas"]}
    scopes = {
        ("version_id", row["id"]): lines[row["delta_id"]] for row in rows["versions"] if row["released_at"] is None
    }
    for form in rows["forms"]:
        held = ("version_id", form["version_id"])
        if form["state"] in {"proposed", "current", "former"} and held in scopes:
            scopes["form_id", form["id"]] = scopes[held]
    return scopes | {("base_id", row["id"]): None for row in rows["bases"]}


def _wrong_object(store, pack):
    size = store.size(pack["physical_key"])
    if size is None:
        return [f"lost: the object of pack {pack['digest'][:16]}"]
    data = b"".join(store.read(pack["physical_key"]))
    if f"sha256:{sha256(data).hexdigest()}" != pack["digest"] or size != pack["size_bytes"]:
        return [f"wrong: the object of pack {pack['digest'][:16]}"]
    return []
