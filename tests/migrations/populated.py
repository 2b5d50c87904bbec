"""A database with a row in every table, and the means to read all of it."""

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import create_engine, read, write

T0 = 1_700_000_000_000_000
SHARE = {"referenced_bytes": 4, "referenced_payload": 2, "alone_bytes": 3, "alone_payload": 1}


def version(number: int) -> dict[str, object]:
    return {
        "id": number,
        "delta_id": 1,
        "number": number,
        "manifest_digest": f"sha256:{number}",
        "manifest": b"{}",
        "storage_map": b"{}",
        "kind": "lora",
        "variant": "",
        "foldable": True,
        "base_root": "blake3:aa",
        "base_id": 1,
        "labels": {},
        "proven_at": T0,
        "proven_revision": 1,
        "semver": f"1.0.{number}",
        "logical_bytes": 10,
        "stored_bytes": 5,
        "uploaded_bytes": 5,
    }


ROWS: tuple[tuple[sa.Table, dict[str, object]], ...] = (
    (t.principals, {"id": 1, "name": "ada", "kind": "user"}),
    (t.principals, {"id": 2, "name": "bob", "kind": "user"}),
    (
        t.tokens,
        {
            "id": 1,
            "token_hash": "h",
            "display": "drg_pat_…",
            "principal_id": 1,
            "kind": "pat",
            "scopes": ["read"],
            "created_by": 1,
        },
    ),
    (
        t.tokens,
        {
            "id": 2,
            "token_hash": "h2",
            "display": "drg_pat_…",
            "principal_id": 2,
            "kind": "pat",
            "scopes": ["approve"],
            "created_by": 1,
        },
    ),
    (t.namespaces, {"id": 1, "name": "lab", "created_by": 1}),
    (t.principals, {"id": 3, "name": "ci", "kind": "service"}),
    (t.stand_ins, {"principal_id": 3, "person_id": 1}),
    (t.grants, {"id": 1, "principal_id": 2, "namespace_id": 1, "role": "approver", "created_by": 1}),
    (
        t.audit,
        {
            "id": 1,
            "actor": "ada",
            "token_id": 1,
            "action": "push",
            "subject": "lab/x",
            "before": None,
            "after": {"version": 1},
            "request_id": "r",
        },
    ),
    (t.log_origins, {"id": 1, "origin": "deltareg/o"}),
    (t.log_checkpoints, {"size": 1, "note": f"deltareg/o\n1\n{'A' * 43}=\n\n\u2014 o AAAA\n"}),
    (t.log_leaves, {"position": 0, "audit_id": 1, "hash": b"h", "sealed_by": 1}),
    (t.log_nodes, {"level": 1, "number": 0, "hash": b"n"}),
    (t.log_statements, {"audit_id": 1, "body": b"{}"}),
    (
        t.outbox,
        {
            "id": 1,
            "audit_id": 1,
            "namespace": "lab",
            "line": "x",
            "number": 1,
            "type": "version.pushed",
            "subject": "lab/x:v1",
        },
    ),
    (t.event_head, {"id": 1, "source": "urn:uuid:0", "number": 1, "holder": "h", "held_until": 0}),
    (
        t.webhooks,
        {
            "id": "wh_1",
            "namespace_id": 1,
            "lines": "",
            "types": ["*"],
            "form": "cloudevents",
            "shown": "https://hooks.example/…",
            "address": b"a",
            "note": "",
            "state": "on",
            "why": "",
            "answers_id": 1,
            "created_by": 1,
        },
    ),
    (t.webhook_secrets, {"id": 1, "webhook_id": "wh_1", "sealed": b"s"}),
    (
        t.deliveries,
        {
            "id": 1,
            "webhook_id": "wh_1",
            "event_id": 1,
            "number": 1,
            "subject": "lab/x:v1",
            "state": "delivered",
            "attempts": 1,
            "since": T0,
            "next_at": T0,
        },
    ),
    (t.delivery_attempts, {"id": 1, "delivery_id": 1, "status": 200, "took_us": 9, "told": ""}),
    (
        t.idempotency,
        {
            "id": 1,
            "principal_id": 1,
            "key": "k",
            "request_digest": "d",
            "status": 201,
            "body": b"\0\xff",
            "headers": {"ETag": "e"},
        },
    ),
    (
        t.bases,
        {
            "id": 1,
            "name": "tiny",
            "root": "blake3:aa",
            "config_digest": "sha256:aa",
            "manifest_digest": "sha256:ab",
            "manifest": b"{}",
            "logical_bytes": 10,
            "stored_bytes": 5,
            "created_by": 1,
        },
    ),
    (t.base_relations, {"id": 1, "base_id": 1, "other_root": "blake3:bb", "relation": "cast_of", "rule_version": "1"}),
    (t.deltas, {"id": 1, "namespace_id": 1, "name": "x", "next_version": 3}),
    (t.versions, version(1)),
    (t.versions, version(2)),
    (t.revocations, {"id": 1, "version_id": 1, "actor_id": 1, "reason": "wrong data"}),
    (t.version_bases, {"base_id": 1, "version_id": 1, "bottom_id": 1, "depth": 1, "recipe": ""}),
    (
        t.bases,
        {
            "id": 7,
            "name": "tiny-bnb4",
            "root": "blake3:cc",
            "config_digest": "sha256:aa",
            "manifest_digest": "sha256:ac",
            "manifest": b"{}",
            "logical_bytes": 5,
            "stored_bytes": 0,
            "created_by": 1,
        },
    ),
    (t.base_variants, {"base_id": 7, "root_id": 1, "scheme": "bnb4"}),
    (t.base_hub_ids, {"base_id": 1, "hub_id": "org/tiny", "revision": ""}),
    (t.version_variants, {"version_id": 2, "base_id": 7}),
    (t.base_identities, {"base_id": 1, "identity": "blake3:i1", "parts": {"config": "sha256:aa"}, "is_partial": True}),
    (t.base_probes, {"base_id": 1, "digest": "sha256:p", "document": b"{}"}),
    (t.base_figures, {"base_id": 1, "surroundings": "{}", "keyid": "k", "envelope": b"{}", "created_by": 1}),
    (t.base_aliases, {"name": "small", "base_id": 1, "created_by": 1}),
    (
        t.bases,
        {
            "id": 8,
            "name": "old#deleted-8",
            "root": "blake3:dd",
            "config_digest": "sha256:aa",
            "manifest_digest": "sha256:ad",
            "manifest": b"{}",
            "logical_bytes": 5,
            "stored_bytes": 0,
            "created_by": 1,
        },
    ),
    (t.deleted_bases, {"base_id": 8, "name": "old", "created_by": 1}),
    (t.cards, {"version_id": 1, "document": b"{}"}),
    (t.cards, {"version_id": 2, "document": None}),
    (t.search_terms, {"term": "x", "version_id": 1}),
    (t.version_metrics, {"name": "accuracy", "version_id": 1, "source": "smoke", "value": 0.5}),
    (t.hub_drafts, {"id": 1, "line": "lab/x", "principal_id": 1, "changes": "{}", "touched_at": T0}),
    (
        t.hub_staged,
        {
            "id": 1,
            "line": "lab/x",
            "principal_id": 1,
            "sha256": "aa",
            "size_bytes": 1,
            "physical_key": "blobs/s/1",
            "state": "here",
            "touched_at": T0,
        },
    ),
    (
        t.hub_tickets,
        {"id": 1, "ticket": "t", "line": "lab/x", "principal_id": 1, "sha256": "aa", "size_bytes": 1, "expires_at": T0},
    ),
    (t.hub_areas, {"id": 1, "name": "a", "line": "lab/x", "principal_id": 1, "touched_at": T0}),
    (
        t.sessions,
        {
            "id": 1,
            "token_id": 1,
            "secret_hash": "s",
            "bound_to": "",
            "browser": "b",
            "begun_at": T0,
            "used_at": T0,
            "expires_at": T0,
        },
    ),
    (t.lineage, {"version_id": 2, "parent_version_id": 1, "position": 0}),
    (
        t.packs,
        {
            "id": 1,
            "scope": "ns:lab",
            "digest": "sha256:p",
            "physical_key": "blobs/p/1",
            "size_bytes": 5,
            "state": "live",
        },
    ),
    (t.version_packs, {"version_id": 1, "pack_id": 1}),
    (t.base_packs, {"base_id": 1, "pack_id": 1}),
    (t.version_shares, {"version_id": 1, "pack_id": 1, "storage_revision": 1, **SHARE}),
    (t.base_shares, {"base_id": 1, "pack_id": 1, **SHARE}),
    (t.pieces, {"id": 1, "scope": "ns:lab", "digest": "blake3:t", "entry": b"e"}),
    (t.piece_packs, {"piece_id": 1, "pack_id": 1}),
    (
        t.uploads,
        {
            "id": "u",
            "principal_id": 1,
            "scope": "ns:lab",
            "subject": "delta",
            "target": "lab/x",
            "manifest_digest": "sha256:1",
            "manifest": b"{}",
            "request": {},
            "state": "complete",
            "touched_at": T0,
            "version_id": 1,
        },
    ),
    (t.upload_packs, {"id": 1, "upload_id": "u", "number": 0, "physical_key": "blobs/p/1", "state": "adopted"}),
    (
        t.runs,
        {
            "id": "r",
            "what": "verify",
            "dedup_key": "k",
            "version_id": 1,
            "suite": "smoke",
            "request": {"suite_digest": "sha256:s"},
            "state": "done",
            "labels": {"gpu": "any"},
            "created_by": 1,
        },
    ),
    (
        t.forms,
        {
            "id": 1,
            "version_id": 1,
            "why": "reencode",
            "storage_map": b"{}",
            "stored_bytes": 5,
            "revision": 1,
            "sent_by": 1,
            "run_id": "r",
            "state": "former",
        },
    ),
    (t.form_packs, {"form_id": 1, "pack_id": 1}),
    (t.run_log, {"run_id": "r", "seq": 1, "fence": 1, "number": 0, "total_bytes": 9, "line": {"text": "begun"}}),
    (t.dropped_logs, {"run_id": "r"}),
    (t.run_results, {"run_id": "r", "other_id": 2, "asked": b"{}", "found": b"{}"}),
    (t.waiting_runs, {"id": 1, "run_id": "r", "version_id": 1}),
    (
        t.verdicts,
        {
            "id": "v",
            "run_id": "r",
            "version_id": 1,
            "manifest_digest": "sha256:1",
            "base_root": "blake3:aa",
            "suite": "smoke",
            "suite_digest": "sha256:s",
            "verifier": "1",
            "policy_digest": "",
            "dtype": "float32",
            "seed": 0,
            "verdict": "pass",
            "base_evidence": "exact",
            "checks": [{"name": "effect"}],
            "environment": {},
            "sandbox": "full",
        },
    ),
    (t.verdict_bases, {"verdict_id": "v", "identity": "blake3:i1"}),
    (t.comparisons, {"verdict_id": "v", "digest": "sha256:0"}),
    (
        t.signing_keys,
        {
            "id": 1,
            "role": "worker",
            "name": "w",
            "principal_id": 1,
            "keyid": "k",
            "public": "ed25519:00",
            "host": "rack-1",
            "created_by": 1,
        },
    ),
    (
        t.verdict_envelopes,
        {"verdict_id": "v", "key_id": 1, "keyid": "k", "host": "rack-1", "labels": {}, "body": b"{}"},
    ),
    (t.lease_keys, {"run_id": "r", "nonce": "n", "public": "ed25519:00"}),
    (t.disputes, {"verdict_id": "v", "other_id": "v", "told": "effect"}),
    (
        t.referrers,
        {
            "id": 1,
            "version_id": 1,
            "form": "signature",
            "digest": "sha256:s",
            "predicate_type": "urn:x",
            "keyid": "k",
            "ca": "",
            "issuer": "",
            "identity": "",
            "public": "",
            "body": b"{}",
            "created_by": 1,
        },
    ),
    (t.floors, {"id": 1, "namespace_id": 1, "policy": {"approvals": 1}, "reason": "x", "created_by": 1}),
    (t.revoked_signers, {"keyid": "k", "reason": "stolen", "created_by": 1}),
    (t.suites, {"id": 1, "name": "mine", "number": 1, "digest": "sha256:s", "document": b"{}", "created_by": 1}),
    (t.suite_files, {"id": 1, "digest": "sha256:f", "size_bytes": 2, "content": b"hi"}),
    (t.suite_uses, {"id": 1, "suite_id": 1, "file_id": 1}),
    (t.workers, {"id": 1, "name": "w", "principal_id": 1, "labels": {}, "last_seen_at": T0}),
    (t.channels, {"id": 1, "delta_id": 1, "name": "prod", "revision": 1, "policy": {}}),
    (
        t.revisions,
        {
            "id": 1,
            "channel_id": 1,
            "number": 1,
            "kind": "promote",
            "version_id": 1,
            "digest": "sha256:1",
            "base_root": "blake3:aa",
            "actor_id": 1,
            "reason": "first",
            "verdict_ids": ["v"],
            "break_glass": False,
        },
    ),
    (t.summaries, {"revision_id": 1, "keyid": "s", "body": b"{}"}),
    (t.channels, {"id": 2, "delta_id": 1, "name": "dev", "revision": 1, "policy": {}}),
    (
        t.revisions,
        {
            "id": 2,
            "channel_id": 2,
            "number": 1,
            "kind": "promote",
            "version_id": 1,
            "digest": "sha256:1",
            "base_root": "blake3:aa",
            "actor_id": 1,
            "reason": "no time",
            "verdict_ids": [],
            "break_glass": True,
        },
    ),
    (
        t.requests,
        {
            "id": 1,
            "channel_id": 1,
            "version_id": 2,
            "digest": "sha256:2",
            "policy_digest": "sha256:p",
            "seen_revision": 1,
            "opener_id": 1,
            "reason": "better",
        },
    ),
    (t.approvals, {"id": 1, "request_id": 1, "principal_id": 2, "token_id": 2, "message": ""}),
    (t.reviews, {"id": 1, "revision_id": 2, "principal_id": 2, "message": "it was right"}),
    (t.terms, {"id": 1, "channel_id": 1, "policy_digest": "sha256:p", "suites": {"smoke": "sha256:s"}}),
    (t.freezes, {"id": 1, "revision_id": 1, "ends_at": T0}),
    (
        t.quarantines,
        {
            "id": 1,
            "channel_id": 1,
            "version_id": 1,
            "revision_id": 1,
            "cleared_at": T0,
            "cleared_by": 1,
            "clear_reason": "x",
        },
    ),
    (
        t.waivers,
        {"id": "w", "verdict_id": "v", "check_name": "effect", "reason": "known", "expires_at": T0, "actor_id": 1},
    ),
    (t.waiver_channels, {"waiver_id": "w", "channel_id": 1}),
    (t.complete_verdicts, {"verdict_id": "v"}),
    (t.accepted_warnings, {"request_id": 1, "warning": "smoke/spectral"}),
    (t.agents, {"id": 1, "name": "host", "principal_id": 1, "engine": "dir", "every_us": 1, "seen_at": T0}),
    (
        t.followers,
        {
            "id": 1,
            "agent_id": 1,
            "channel_id": 1,
            "revision": 1,
            "version": 1,
            "digest": "sha256:1",
            "state": "ok",
            "error": "",
            "since": T0,
        },
    ),
)


def populate(url):
    """Insert at least one row into every table."""
    engine = create_engine(url)
    with write(engine) as conn:
        for table, values in ROWS:
            dated = {"created_at": T0} if "created_at" in table.c else {}
            conn.execute(sa.insert(table).values({**values, **dated}))
    engine.dispose()


def rows_of(url):
    """Return all rows of all tables that the database has, by column, as its driver gives them."""
    engine = create_engine(url)
    tables = set(sa.inspect(engine).get_table_names()) - {"alembic_version"}
    with read(engine) as conn:
        rows = {table: rows_in(conn, table) for table in sorted(tables)}
    engine.dispose()
    return rows


def rows_in(conn, table):
    """Return all rows of a table, in one order."""
    found = conn.exec_driver_sql(f"SELECT * FROM {table}").mappings()
    return sorted((dict(row) for row in found), key=repr)
