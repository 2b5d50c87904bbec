"""All tables, a module a subject, as SQLAlchemy Core tables in one MetaData.

Every time is a BIGINT of microseconds since the epoch, by the database's clock (`db.clock`).
"""

from deltareg.db.tables.base_identities import base_aliases, base_identities, deleted_bases, verdict_bases
from deltareg.db.tables.base_probes import base_figures, base_probes
from deltareg.db.tables.channels import channels, freezes, quarantines, revisions
from deltareg.db.tables.fleet import agents, followers
from deltareg.db.tables.floors import floors
from deltareg.db.tables.grants import grants, stand_ins, visibility_epochs
from deltareg.db.tables.hub import hub_areas, hub_drafts, hub_staged, hub_tickets
from deltareg.db.tables.metadata import metadata
from deltareg.db.tables.outbox import event_head, outbox
from deltareg.db.tables.packs import (
    base_packs,
    base_shares,
    form_packs,
    packs,
    piece_packs,
    pieces,
    upload_packs,
    uploads,
    version_packs,
    version_shares,
)
from deltareg.db.tables.principals import audit, idempotency, namespaces, principals, tokens
from deltareg.db.tables.referrers import referrers, revoked_signers
from deltareg.db.tables.requests import accepted_warnings, approvals, requests, reviews, terms
from deltareg.db.tables.runs import (
    comparisons,
    dropped_logs,
    run_log,
    run_results,
    runs,
    verdicts,
    waiting_runs,
    workers,
)
from deltareg.db.tables.search import cards, search_terms, version_metrics
from deltareg.db.tables.sessions import sessions
from deltareg.db.tables.signing import disputes, lease_keys, signing_keys, summaries, verdict_envelopes
from deltareg.db.tables.suites import suite_files, suite_uses, suites
from deltareg.db.tables.trail import log_checkpoints, log_leaves, log_nodes, log_origins, log_statements, unsealed
from deltareg.db.tables.versions import (
    base_hub_ids,
    base_relations,
    base_variants,
    bases,
    deltas,
    forms,
    lineage,
    revocations,
    version_bases,
    version_variants,
    versions,
)
from deltareg.db.tables.waivers import complete_verdicts, waiver_channels, waivers
from deltareg.db.tables.webhooks import deliveries, delivery_attempts, webhook_secrets, webhooks

__all__ = [
    "accepted_warnings",
    "agents",
    "approvals",
    "audit",
    "base_aliases",
    "base_figures",
    "base_hub_ids",
    "base_identities",
    "base_packs",
    "base_probes",
    "base_relations",
    "base_shares",
    "base_variants",
    "bases",
    "cards",
    "channels",
    "comparisons",
    "complete_verdicts",
    "deleted_bases",
    "deliveries",
    "delivery_attempts",
    "deltas",
    "disputes",
    "dropped_logs",
    "event_head",
    "floors",
    "followers",
    "form_packs",
    "forms",
    "freezes",
    "grants",
    "hub_areas",
    "hub_drafts",
    "hub_staged",
    "hub_tickets",
    "idempotency",
    "lease_keys",
    "lineage",
    "log_checkpoints",
    "log_leaves",
    "log_nodes",
    "log_origins",
    "log_statements",
    "metadata",
    "namespaces",
    "outbox",
    "packs",
    "piece_packs",
    "pieces",
    "principals",
    "quarantines",
    "referrers",
    "requests",
    "reviews",
    "revisions",
    "revocations",
    "revoked_signers",
    "run_log",
    "run_results",
    "runs",
    "search_terms",
    "sessions",
    "signing_keys",
    "stand_ins",
    "suite_files",
    "suite_uses",
    "suites",
    "summaries",
    "terms",
    "tokens",
    "unsealed",
    "upload_packs",
    "uploads",
    "verdict_bases",
    "verdict_envelopes",
    "verdicts",
    "version_bases",
    "version_metrics",
    "version_packs",
    "version_shares",
    "version_variants",
    "versions",
    "visibility_epochs",
    "waiting_runs",
    "waiver_channels",
    "waivers",
    "webhook_secrets",
    "webhooks",
    "workers",
]
