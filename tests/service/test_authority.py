"""Rights end at the border of a namespace: in the answer itself, and in every use case.

Callers are made here by hand; what makes them of tokens and roles is tested beside this.
"""

import importlib
import inspect
import pkgutil
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

import deltareg.service
import deltareg_migrations
from deltareg.db import tables as t
from deltareg.db.lines import deltas
from deltareg.db.lines.deltas import LineFilter
from deltareg.db.session import create_engine, write
from deltareg.db.sql.clock import now_us
from deltareg.digest import Digest
from deltareg.errors import DeltaregError, Forbidden, NotFound
from deltareg.identity.manifest import BASE_KIND, Manifest, ManifestFile, ManifestTensor, Piece
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import LineRef, Ref
from deltareg.service.access import (
    applying,
    audit,
    explain,
    groups,
    holders,
    keeping,
    keys,
    making,
    members,
    namespace_requests,
    namespaces,
    offboarding,
    organisation,
    people,
    review,
    roles,
    sessions,
    tokens,
)
from deltareg.service.access.exchange import trusts, worker_trusts
from deltareg.service.access.sign_in import ending, linking
from deltareg.service.authority.grants import Grant, Right, UnclaimedNamespaces
from deltareg.service.authority.resources import Namespace
from deltareg.service.bases import bases, changes, fit, probes
from deltareg.service.bases.stacks import find_ground
from deltareg.service.channels import (
    channels,
    fleet,
    floors,
    gate,
    move,
    policies,
    readiness,
    requests,
    reviews,
    summaries,
    waive,
)
from deltareg.service.hub import (
    committing,
    content,
    copies,
    drafts,
    files,
    history,
    listing,
    person,
    snapshots,
    tagging,
    visibility,
    xet_store,
)
from deltareg.service.hub.files import CommitFile
from deltareg.service.hub.snapshots import MissingContent
from deltareg.service.lines import (
    alike,
    blobs,
    bundles,
    cards,
    deprecations,
    details,
    evaluations,
    lineage,
    log,
    pulls,
    referrers,
    revocations,
    search,
    versions,
)
from deltareg.service.names import channels as channel_names
from deltareg.service.names import deleting, moving
from deltareg.service.names import lines as line_names
from deltareg.service.names import namespaces as namespace_names
from deltareg.service.operations import operations
from deltareg.service.overview import (
    bisection,
    choices,
    comparison,
    family,
    home,
    measures,
    moves,
    registered_base,
    trail_check,
    trials,
)
from deltareg.service.overview import channel as channel_page
from deltareg.service.overview import deltas as deltas_page
from deltareg.service.overview import gate as gate_page
from deltareg.service.overview import line as line_page
from deltareg.service.overview import request as request_page
from deltareg.service.overview import version as version_page
from deltareg.service.overview import waiving as waiving_page
from deltareg.service.push import (
    doubts,
    ingest,
    ingest_base,
    proving,
    receive,
    reencode,
    restore,
    revert,
    unreadable,
    uploads,
)
from deltareg.service.quotas import quotas
from deltareg.service.registry import Caller, Registry
from deltareg.service.retention import rules as retention_rules
from deltareg.service.runs import asking, comparing, finding_runs, flatten, leases, prove_again, queue, runs
from deltareg.service.runs import log as run_log
from deltareg.service.runs.kinds import verify
from deltareg.service.telling import deliveries, webhooks
from deltareg.service.telling import read as events
from deltareg.service.telling.read import EventFilter
from deltareg.service.trail import excerpts, proofs
from deltareg.service.upkeep import collect, fsck, outlook, pieces, plan, stats
from deltareg.service.verdicts import compat, suites, verdicts
from deltareg.store.memory import MemoryStore
from deltareg.suites.suite import read_suite
from deltareg.wire import (
    AccessApply,
    AccessDocument,
    AgentReport,
    BaseRename,
    ChannelMove,
    CheckMore,
    Deprecate,
    FiguresReport,
    FloorSet,
    FormRevert,
    GroupSet,
    KeyEnrol,
    KeyRevoke,
    LeaseHold,
    LeaseRequest,
    LineSent,
    LogAppend,
    MemberAdd,
    NamespaceChange,
    NamespaceCreate,
    Observed,
    OperationChange,
    PolicySet,
    ProofReport,
    QuotaSet,
    Redeliver,
    ReencodeReport,
    ReferrerAdd,
    Rename,
    RetentionSet,
    Revoke,
    RoleSet,
    RunCreate,
    RunFailure,
    SignerRevoke,
    SuitePush,
    TokenCreate,
    TokenRenew,
    Unrevoke,
    UploadComplete,
    UploadOpen,
    VersionChange,
    WaiverCreate,
    WebhookAdd,
    WebhookRotate,
    WorkerTrustAdd,
)
from deltareg.wire.evidence import EvaluationAdd, EvaluationWithdraw
from deltareg.wire.findings import AnswerCreate, CompareCreate, FoundReport
from deltareg.wire.sign_in import IdentityLink
from tests.migrations.populated import ROWS, populate
from tests.service import rows
from tests.service.work import SMOKE, findings
from tests.signers import key_of

LAB = LineRef("lab", "x")
V1 = Ref(LAB, version=1)
AT_PROD = Ref(LAB, channel="prod")
AS_BASE = "lab/x:v2"
ROOT = Digest.parse(rows.BASE_ROOT)
_HEADER = Piece(ROOT, "U8", (8,), 8)
_WEIGHT = ManifestTensor("m.safetensors", "w", "weight", "", "F32", (1,), ROOT)
_FILE = ManifestFile("m.safetensors", 12, rows.BASE.digest, _HEADER, is_tensors=True)
WEIGHTS = Manifest(BASE_KIND, "", False, None, {"config_json": "{}"}, (_WEIGHT,), (_FILE,))
DELTA = Manifest("lora", "", True, ROOT, {}, (), ())
REPORT = findings(type("Grant", (), {"fence": 1, "suite_digest": str(SMOKE.digest)}))
PAGE = {"cursor": None, "limit": 50}
HOLD = LeaseHold(run="r", fence=1)
FLOOR = FloorSet(policy={}, reason="x")
CHECK = "00000000-0000-4000-8000-000000000000"
HOOK = WebhookAdd(url="http://127.0.0.1:9/", namespace="lab")
TREE = drafts.tree_of(
    drafts.DraftState(None, {}, {"a.json": CommitFile("a.json", 1, "a" * 64)}, 0),
    Caller("ada", 1, 1, frozenset()),
    LAB,
    is_private=False,
)


def serves(name):
    return AgentReport(engine="dir", every_s=10, serves=[Observed(channel=name, state="ok")])


def opening(target, subject="delta"):
    manifest = DELTA if subject == "delta" else WEIGHTS
    return UploadOpen(subject=subject, target=target, manifest=manifest.encode().decode())


def called(use_case, *args, **kwargs):
    """Name a call of a use case by where it stands."""
    place = use_case.__module__.removeprefix("deltareg.service.")
    return pytest.param(use_case, args, kwargs, id=f"{place}.{use_case.__name__}")


READS = [  # of what lies in `lab`, or is about it
    called(bases.show_base, AS_BASE),
    called(changes.diff_bases, AS_BASE, "tiny"),
    called(bases.base_manifest_bytes, AS_BASE),
    called(probes.show_probes, AS_BASE),
    called(bases.base_storage_bytes, AS_BASE),
    called(lineage.show_base_lineage, AS_BASE, depth=5),
    called(compat.list_compat, AS_BASE, suite="smoke", **PAGE),
    called(channels.list_channels, LAB),
    called(channels.show_channel, LAB, "prod", at=None),
    called(channels.read_revision, LAB, "prod"),
    called(channels.list_revisions, LAB, "prod", **PAGE),
    called(fleet.list_followers, "lab/x", **PAGE),
    called(fleet.list_followers, "lab/x@prod", **PAGE),
    called(floors.show_floor, "lab"),
    called(quotas.show_quota, "lab"),
    called(line_page.show_line, LAB, **PAGE),
    called(measures.show_measures, LAB, limit=9),
    called(channel_page.show_ledger, LAB, "prod", at=None, **PAGE),
    called(registered_base.show_base_with_versions, AS_BASE, suite="smoke", **PAGE),
    called(moves.show_way_back, LAB, "prod"),
    called(moves.show_promotion, LAB, "prod", version=1),
    called(comparison.compare_versions, LAB, a=None, b=None),
    called(choices.list_choices, LAB),
    called(bisection.search_by_hand, LAB, {1: "good"}),
    called(gate.check_gate, V1, "prod"),
    called(gate_page.show_gate_around, V1, "prod"),
    called(version_page.show_version_around, V1),
    called(cards.show_card, V1, with_text=False),
    called(fit.show_fit, V1, "tiny"),
    called(policies.show_policy, LAB, "prod"),
    called(readiness.show_readiness, LAB, "prod"),
    called(summaries.show_summary, LAB, "prod", 1),
    called(requests.list_requests, LAB, state=None, channel=None, **PAGE),
    called(requests.show_request, 1),
    called(request_page.show_request_around, 1),
    called(blobs.find_blob, Digest.parse(f"sha256:{'0' * 64}"), of="lab/x:v1"),
    called(blobs.find_blob, Digest.parse(f"sha256:{'0' * 64}"), of=f"base:{AS_BASE}"),
    called(bundles.bundle_versions, [V1], bare="newest", have=()),
    called(bundles.bundle_versions, [AT_PROD], bare="newest", have=()),
    called(lineage.show_lineage, V1, depth=3),
    called(family.show_family, "lab/x", up=1, down=1),
    called(family.show_family, "lab/x:v1", up=1, down=1),
    called(family.show_family, AS_BASE, up=1, down=1),
    called(log.show_log, LAB, channel=None, **PAGE),
    called(versions.list_versions, LAB, **PAGE),
    called(versions.show_version, V1, bare="newest"),
    called(versions.show_version, AT_PROD, bare="newest"),
    called(versions.manifest_bytes, V1),
    called(versions.storage_bytes, V1),
    called(pulls.show_pulls, V1),
    called(revert.show_forms, V1, keep_s=60),
    called(referrers.list_referrers, V1),
    called(evaluations.list_evidence, V1),
    called(evaluations.show_evaluation, V1, f"sha256:{'0' * 64}"),
    called(referrers.show_referrer, V1, f"sha256:{'0' * 64}"),
    called(run_log.read_log, "r", after=0),
    called(queue.list_queue, ref=V1, **PAGE),
    called(runs.list_runs, state=None, what=None, ref=V1, **PAGE),
    called(runs.show_run, "r"),
    called(comparing.show_comparison, V1, Ref(LAB, version=2)),
    called(comparing.queue_comparison, CompareCreate(a="lab/x:v1", b="lab/x:v2")),
    called(asking.show_answers, "r"),
    called(asking.ask, AnswerCreate(prompt="hi", refs=["lab/x:v1"])),
    called(runs.rerun, "r"),
    called(stats.show_storage, "lab", limit=5),
    called(stats.show_storage, LAB, limit=5),
    called(stats.show_storage, V1, limit=5),
    called(verdicts.list_verdicts, V1, suite=None, **PAGE),
    called(verdicts.show_verdict, "v"),
    called(verdicts.show_envelope, "v"),
    called(waiving_page.look_at_waiving, "v"),
    called(namespaces.show_namespace, "lab"),
    called(members.list_members, "lab", **PAGE),
    called(members.end_member, 1),
    called(events.list_events, EventFilter("lab"), after=None, limit=5),
    called(events.list_events, EventFilter("lab", "x"), after=None, limit=5),
    called(events.begin_now, EventFilter("lab")),
    called(snapshots.look_for, "lab/x", "v1", main="prod"),
    called(snapshots.look_for, AS_BASE, "main", main="prod"),
    called(files.look_for_files, "lab/x", "prod", main="prod"),
    called(content.look_for_content, "lab/x", "v1", "m.safetensors", main="prod"),
    called(history.look_for_refs, "lab/x", main="prod"),
    called(history.look_for_commits, "lab/x", "v2", main="newest"),
]
DECIDES = [  # on what is known by a number alone, so that it has to be found first
    called(audit.list_audit, audit.AuditQuery(namespace="lab"), **PAGE),
    called(excerpts.read_excerpt, audit.AuditQuery(namespace="lab"), **PAGE),
    called(requests.approve_request, 1, message=""),
    called(requests.reject_request, 1, reason="no"),
    called(requests.withdraw_request, 1),
    called(runs.cancel_run, "r"),
    called(waive.waive, "v2", WaiverCreate(check="deterministic", channel="prod", reason="known")),
    called(waive.unwaive, "v2", "deterministic"),
    called(waive.continue_verdict, "v2"),
    called(webhooks.show_webhook, "wh_1"),
    called(webhooks.rotate_webhook, "wh_1", WebhookRotate()),
    called(webhooks.remove_webhook, "wh_1"),
    called(webhooks.try_webhook, "wh_1"),
    called(deliveries.list_deliveries, "wh_1", state=None, **PAGE),
    called(deliveries.redeliver, "wh_1", Redeliver(dead=True)),
]
WRITES = [  # to what lies in `lab`
    called(channels.create_channel, LAB, "canary"),
    called(channels.clear_quarantine, LAB, "prod", 1, reason="mended"),
    called(fleet.report_agent, "host-7", serves("lab/x@prod")),
    called(move.move_channel, LAB, "prod", ChannelMove(kind="promote", version=2), seen=1),
    called(move.move_channel, LAB, "prod", ChannelMove(kind="rollback"), seen=1),
    called(
        move.move_channel, LAB, "prod", ChannelMove(kind="promote", version=2, reason="now", break_glass=True), seen=1
    ),
    called(floors.set_floor, "lab", FLOOR, is_seen=lambda _: True),
    called(policies.set_policy, LAB, "prod", PolicySet(policy={}), is_seen=lambda _: True),
    called(trials.try_policy, LAB, "prod", {}),
    called(trials.try_floor, "lab", {}),
    called(reviews.review_move, LAB, "dev", 1, message="fine"),
    called(revocations.revoke_version, V1, Revoke(reason="bad")),
    called(revocations.unrevoke_version, V1, Unrevoke(reason="good")),
    called(versions.delete_version, V1),
    called(details.change_version, V1, VersionChange(labels={"a": "b"})),
    called(deprecations.deprecate_version, V1, Deprecate(reason="old")),
    called(deprecations.deprecate_line, LAB, Deprecate(reason="old")),
    called(line_names.rename_line, LAB, Rename(to="lab/z")),
    called(line_names.free_name, LineRef("lab", "old")),
    called(moving.copy_shared, LAB, LineRef("lab", "z")),
    called(deleting.delete_line, LAB),
    called(retention_rules.show_retention, Namespace("lab")),
    called(retention_rules.show_retention, LAB),
    called(retention_rules.set_retention, Namespace("lab"), RetentionSet(rules=[]), dry_run=False),
    called(retention_rules.set_retention, LAB, RetentionSet(rules=[]), dry_run=False),
    called(channel_names.rename_channel, LAB, "prod", Rename(to="live2")),
    called(channel_names.delete_channel, LAB, "prod"),
    called(namespace_names.rename_namespace, "lab", Rename(to="labs")),
    called(restore.restore_version, V1),
    called(restore.restore_line, LAB),
    called(evaluations.add_evaluation, V1, EvaluationAdd(body='{"metrics": {"a": 1}}')),
    called(evaluations.withdraw_evaluation, V1, f"sha256:{'0' * 64}", EvaluationWithdraw(reason="x")),
    called(referrers.add_referrer, V1, ReferrerAdd(form="attestation", body="{}")),
    called(changes.rename_base, "lab/b", BaseRename(name="lab/c")),
    called(changes.delete_base, "lab/b"),
    called(uploads.open_upload, opening("lab/b", "base")),
    called(drafts.begin_draft, LAB),
    called(visibility.make_visible, LAB, is_private=None),
    called(visibility.change_visibility, LAB, is_private=False),
    called(tagging.add_tag, LAB, "v1", "best"),
    called(tagging.remove_tag, LAB, "best"),
    called(copies.find_copied, LAB, drafts.DraftState(None, {}, {}, 0), {"b.json": "a" * 64}),
    called(committing.look_at_standing, LAB),
    called(committing.commit, LAB, committing.CommitOperations(deleted=["a"]), push=None, scratch=Path()),
    called(drafts.keep_changes, LAB, {}),
    called(xet_store.give_area, LAB),
    called(uploads.open_upload, opening("lab/x")),
    called(uploads.open_upload, opening(AS_BASE, "base")),
    called(uploads.show_upload, "u"),
    called(uploads.abort_upload, "u"),
    called(receive.receive_pack, "open", number=1, digest=rows.BASE.digest, body=[b""]),
    called(ingest.complete_upload, "open", UploadComplete(storage_map="{}")),
    called(ingest.complete_upload, "u", UploadComplete(storage_map="{}")),
    called(ingest_base.register_base, "open-base"),
    called(ingest_base.complete_base, "open-base", UploadComplete(storage_map="{}")),
    called(flatten.flatten, V1),
    called(revert.revert_form, V1, FormRevert(), keep_s=60),
    called(runs.queue_run, RunCreate(ref="lab/x:v1")),
    called(prove_again.queue_prove, RunCreate(what="prove", ref="lab/x:v1")),
    called(namespaces.change_namespace, "lab", NamespaceChange(visibility="private")),
    called(members.add_member, MemberAdd(principal="bob", role="reader", namespace="lab")),
    called(review.review_access, "lab", unused_days=90, **PAGE),
    called(explain.explain_access, principal="bob", action="read", ref="lab/x"),
    called(webhooks.add_webhook, HOOK),
    called(webhooks.list_webhooks, "lab", **PAGE),
]
ELSEWHERE = [  # each refuses in its own way, which its own tests hold
    called(proofs.prove_row, 1),
    called(applying.apply_access, AccessApply(document=AccessDocument())),
    called(organisation.export_access),
    called(holders.list_holders, "lab", right=None, **PAGE),
    called(trusts.add_trust, None),
    called(trusts.end_trust, 1),
    called(groups.show_group, "ml"),
    called(groups.remove_group, "ml"),
    called(groups.join_group, "ml", "bob"),
    called(groups.leave_group, "ml", "bob"),
    called(roles.set_role, RoleSet(name="releaser", rights=["read"], namespace="lab")),
    called(roles.remove_role, "releaser", "lab"),
    called(ending.end_own_sign_in, None),
]
WHOLES = [  # of everything, and what belongs to no namespace
    called(audit.list_audit, query=audit.AuditQuery(subject="lab/x"), **PAGE),
    called(excerpts.read_excerpt, audit.AuditQuery(), **PAGE),
    called(proofs.read_log, after=None, limit=10),
    called(trail_check.check_trail),
    called(making.create_token, TokenCreate(principal="eve")),
    called(keys.enrol_worker, KeyEnrol(name="gpu-1", key=str(key_of("gpu-1").public))),
    called(keys.revoke_key, "k", KeyRevoke(reason="x")),
    called(worker_trusts.add_worker_trust, WorkerTrustAdd(issuer="https://c.example", audience="x", account="a/b")),
    called(worker_trusts.list_worker_trusts),
    called(worker_trusts.end_worker_trust, 1),
    called(doubts.doubt_proofs, "0" * 64),
    called(referrers.revoke_signer, "0" * 64, SignerRevoke(reason="x")),
    called(members.list_members, None, **PAGE),
    called(members.add_member, MemberAdd(principal="bob", role="reader")),
    called(review.review_access, None, unused_days=90, **PAGE),
    called(offboarding.list_principals, kind=None, **PAGE),
    called(offboarding.show_principal, "bob"),
    called(people.disable_person, "bob"),
    called(people.enable_person, "bob"),
    called(people.hand_over, "ci", to="bob"),
    called(namespace_requests.grant_namespace, 1, reason=""),
    called(namespace_requests.refuse_namespace, 1, reason=""),
    called(fleet.forget_agent, "others"),
    called(uploads.open_upload, opening("tiny-2", "base")),
    called(changes.rename_base, "tiny", BaseRename(name="tiny-2")),
    called(changes.delete_base, "shared/tiny"),
    called(reencode.open_reencode, HOLD),
    called(reencode.complete_reencode, "r", ReencodeReport(fence=1, upload="u", storage_map="{}")),
    called(leases.claim_lease, LeaseRequest(worker="w"), lease_s=60),
    called(leases.hold_lease, HOLD, lease_s=60),
    called(leases.lose_worker, "w"),
    called(verify.complete_run, "r", REPORT),
    called(proving.prove_by_verdict, "r", REPORT),
    called(proving.form_to_prove, "r"),
    called(proving.complete_proof, "r", ProofReport(fence=1, storage_revision=1, pieces=1)),
    called(finding_runs.complete_found, "r", FoundReport(fence=1, found="{}")),
    called(leases.fail_run, "r", RunFailure(fence=1, error="x")),
    called(unreadable.look_after_failure, "r"),
    called(run_log.append_log, "r", LogAppend(fence=1, first=0, lines=[LineSent(text="x")])),
    called(plan.plan_collection, grace_s=0),
    called(collect.run_collection, grace_s=0),
    called(outlook.show_outlook, grace_s=0, keep_logs_s=None, keep_forms_s=60, limit=5),
    called(fsck.run_fsck, read_data=False),
    called(pieces.go_on, CheckMore()),
    called(pieces.show_check, CHECK),
    called(operations.list_operations),
    called(operations.show_operation, "collect"),
    called(operations.change_operation, "collect", OperationChange(paused=True)),
    called(stats.show_storage, None, limit=5),
    called(suites.push_suite, SuitePush(document="name: mine\nchecks: [effect]")),
    called(floors.set_floor, None, FLOOR, is_seen=lambda _: True),
    called(quotas.set_quota, "lab", QuotaSet(limits={})),
    called(trials.try_floor, None, {}),
    called(trials.try_suite, "name: mine\nchecks: [effect]"),
    called(probes.add_figures, "tiny", FiguresReport(envelope="{}")),
    called(webhooks.add_webhook, HOOK.model_copy(update={"namespace": None})),
    called(webhooks.list_webhooks, None, **PAGE),
    called(trusts.list_trusts, None, **PAGE),
    called(groups.set_group, GroupSet(name="ml")),
    called(linking.list_identities, **PAGE),
    called(linking.link_identity, 1, IdentityLink(principal="bob")),
]
SHARED = [  # by all namespaces, or left out of a list, or the caller's own
    called(tokens.whoami),
    called(keeping.list_tokens, **PAGE),
    called(keeping.revoke_token, 1),
    called(keeping.renew_token, TokenRenew()),
    called(offboarding.show_principal, "ada"),
    called(namespace_requests.list_namespace_requests, state=None, **PAGE),
    called(keys.list_keys),
    called(referrers.list_revoked_signers),
    called(proofs.show_checkpoint),
    called(proofs.prove_consistency, old=0, new=0),
    called(bases.list_bases, root=None, **PAGE),
    called(registered_base.bases_called, "tiny"),
    called(bases.show_base, "tiny"),
    called(lineage.show_base_lineage, "tiny", depth=5),
    called(compat.list_compat, "tiny", suite="smoke", **PAGE),
    called(registered_base.show_base_with_versions, "tiny", suite="smoke", **PAGE),
    called(bases.base_manifest_bytes, "tiny"),
    called(probes.show_probes, "tiny"),
    called(floors.show_floor, None),
    called(quotas.list_quotas, **PAGE),
    called(versions.list_lines, only=LineFilter(), **PAGE),
    called(deltas_page.look_for_lines, only=LineFilter(), **PAGE),
    called(home.show_home),
    called(home.show_kept),
    called(pulls.note_pull, 1),
    called(alike.find_alike, V1, DELTA, None),  # among what the caller reads
    called(search.search_versions, search.SearchQuery(), **PAGE),
    called(suites.list_suites),
    called(suites.list_versions, "smoke", **PAGE),
    called(suites.show_suite, "smoke"),
    called(suites.read_file, "sha256:f"),
    called(fleet.list_followers, None, **PAGE),
    called(requests.list_requests, None, state=None, channel=None, **PAGE),
    called(queue.list_queue, ref=None, **PAGE),
    called(queue.list_workers),
    called(runs.list_runs, state=None, what=None, ref=None, **PAGE),
    called(verdicts.list_verdicts, None, suite=None, **PAGE),
    called(namespaces.list_namespaces, **PAGE),
    called(namespaces.create_namespace, NamespaceCreate(name="fresh")),
    called(namespace_requests.ask_for_namespace, NamespaceCreate(name="fresh")),
    called(explain.explain_access, principal="ada", action="read", ref="lab/x"),
    called(events.list_events, EventFilter(), after=None, limit=5),
    called(events.begin_now, EventFilter()),
    called(snapshots.look_for, "tiny", "main", main="prod"),
    called(person.look_at_person),
    called(drafts.look_for_draft, "lab/x", "main"),
    called(drafts.look_for_staged, TREE, "a.json"),
    called(drafts.drop_changes, LAB, {}),
    called(listing.list_repositories, listing.RepositoryQuery(), main="prod", **PAGE),
    called(sessions.open_session),
    called(sessions.list_sessions),
    called(sessions.end_session, 2),
    called(groups.list_groups, **PAGE),
    called(roles.list_roles, None),
    called(ending.list_machines),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Make a database with one of everything in `lab`, all of it ada's; give its path."""
    path = tmp_path_factory.mktemp("lab") / "registry.db"
    deltareg_migrations.upgrade(f"sqlite:///{path}")
    populate(f"sqlite:///{path}")
    raw = WEIGHTS.encode()
    engine = create_engine(f"sqlite:///{path}")
    with write(engine) as conn:
        other = {**dict(ROWS)[t.bases], "id": 2, "name": AS_BASE, "root": rows.BASE_ROOT}
        conn.execute(sa.insert(t.bases).values(other))
        conn.execute(sa.update(t.versions).values(manifest=raw))
        empty = StorageMap((), {}).encode()
        conn.execute(sa.update(t.bases).where(t.bases.c.id == 1).values(storage_map=empty))
        for table in (t.bases, t.uploads):
            with rows.unguarded(conn, table):
                conn.execute(sa.update(table).values(manifest=raw, manifest_digest=rows.BASE.digest.hex))
        for table in (t.base_figures, t.base_probes):  # drawn when somebody asks
            with rows.unguarded(conn, table):
                conn.execute(sa.delete(table))
        mine = {**dict(ROWS)[t.uploads], "state": "open", "version_id": None, "manifest": raw}
        for name, subject in (("open", "delta"), ("open-base", "base")):
            target = AS_BASE if subject == "base" else "lab/x"
            new = {"id": name, "subject": subject, "target": target}
            conn.execute(sa.insert(t.uploads).values({**mine, **new}))
        document = read_suite(b"name: mine\nchecks: [effect]").document
        suite = {"id": 2, "number": 2, "digest": "sha256:t", "document": document}
        conn.execute(sa.insert(t.suites).values({**dict(ROWS)[t.suites], **suite}))
        run = {**dict(ROWS)[t.runs], "id": "r2", "dedup_key": "k2"}
        conn.execute(sa.insert(t.runs).values(run))
        failed = {"verdict": "fail", "checks": [{"name": "effect", "verdict": "fail"}]}
        verdict = {**dict(ROWS)[t.verdicts], "id": "v2", "run_id": "r2", **failed}
        conn.execute(sa.insert(t.verdicts).values(verdict))
        for number, token_id in ((2, 1), (3, 2)):
            session = {"id": number, "token_id": token_id, "secret_hash": f"s{number}"}
            now = now_us()
            live = {"begun_at": now, "used_at": now, "expires_at": now + 3_600_000_000}
            conn.execute(sa.insert(t.sessions).values({**dict(ROWS)[t.sessions], **session, **live}))
        for who in (1, 2):
            kept = {"id": 10 + who, "sha256": "a" * 64, "principal_id": who}
            place = {"physical_key": f"blobs/s/{who}0"}
            conn.execute(sa.insert(t.hub_staged).values({**dict(ROWS)[t.hub_staged], **kept, **place}))
        others = {**dict(ROWS)[t.agents], "id": 2, "name": "others", "principal_id": 2}
        conn.execute(sa.insert(t.agents).values(others))
    engine.dispose()
    return path


@pytest.fixture
def registry(lab, tmp_path):
    """Give a registry with a database of its own, as `lab` is."""
    shutil.copy(lab, tmp_path / "registry.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    yield Registry(engine, MemoryStore())
    engine.dispose()


def member(*namespaces, rights=tuple(Right), token_id=1):
    """Give a caller, ada, who has rights in namespaces and nowhere else."""
    grants = {Grant(right, Namespace(name)) for name in namespaces for right in rights}
    if namespaces:
        grants.add(Grant(Right.PUSH, UnclaimedNamespaces()))
    return Caller("ada", 1, token_id, frozenset(grants))


def ask(use_case, registry, caller, args, kwargs):
    """Call a use case; what it says is missing is raised, as most do."""
    found = use_case(registry, caller, *args, **kwargs)
    if isinstance(found, MissingContent):
        raise found.error
    return found


def outcome(use_case, registry, caller, args, kwargs):
    try:
        return ask(use_case, registry, caller, args, kwargs)
    except DeltaregError as error:
        return error


@pytest.mark.parametrize(("use_case", "args", "kwargs"), [*READS, *DECIDES])
def test_what_lies_in_another_namespace_is_not_found(registry, use_case, args, kwargs):
    with pytest.raises(NotFound) as hidden:
        ask(use_case, registry, member("mine"), args, kwargs)

    assert hidden.value.message.startswith(
        ("there is no ", f"{AS_BASE} is the base of nothing", *(f"{name} is no delta" for name in ("lab/x", AS_BASE)))
    )


@pytest.mark.parametrize(("use_case", "args", "kwargs"), WRITES)
def test_nothing_is_written_in_another_namespace(registry, use_case, args, kwargs):
    before = rows.rows(registry.engine, t.audit)

    with pytest.raises(Forbidden, match=r"this token of ada does not allow '[a-z-]+' on (lab|base)"):
        use_case(registry, member("mine"), *args, **kwargs)

    assert rows.rows(registry.engine, t.audit) == before


@pytest.mark.parametrize(("use_case", "args", "kwargs"), WHOLES)
def test_rights_in_a_namespace_are_none_on_the_whole(registry, use_case, args, kwargs):
    with pytest.raises(Forbidden, match="does not allow"):
        use_case(registry, member("lab", "mine"), *args, **kwargs)


@pytest.mark.parametrize(("use_case", "args", "kwargs"), SHARED)
def test_what_all_share_is_there_for_members_of_any_namespace(registry, use_case, args, kwargs):
    ask(use_case, registry, member("mine"), args, kwargs)


@pytest.mark.parametrize(("use_case", "args", "kwargs"), [*READS, *DECIDES, *WRITES])
def test_a_member_of_the_namespace_is_not_kept_out(registry, use_case, args, kwargs):
    found = outcome(use_case, registry, member("lab"), args, kwargs)

    message = found.message if isinstance(found, DeltaregError) else ""
    assert "does not allow" not in message
    assert not message.startswith(("there is no delta", "there is no run", "there is no verdict"))


@pytest.mark.parametrize(("use_case", "args", "kwargs"), [*READS, *DECIDES])
def test_what_is_hidden_reads_as_what_is_not_there(registry, use_case, args, kwargs):
    hidden = outcome(use_case, registry, member("mine"), args, kwargs)
    forget(registry)

    absent = outcome(use_case, registry, member("lab", "mine"), args, kwargs)

    if use_case is channels.read_revision:
        assert absent is None
    else:
        assert (type(absent), absent.message, absent.fix) == (type(hidden), hidden.message, hidden.fix)


@pytest.mark.parametrize(("use_case", "args", "kwargs"), [*READS, *DECIDES, *WRITES, *WHOLES])
def test_a_token_without_rights_gets_nowhere(registry, use_case, args, kwargs):
    found = outcome(use_case, registry, member(), args, kwargs)

    if is_of_the_hub(use_case) and isinstance(found, NotFound):
        # Its clients go on with what their cache has; a refusal would end the loading of a base.
        assert found.message.endswith(" is no delta and no base here")
    else:
        assert isinstance(found, Forbidden)
        assert re.fullmatch(r"this token of ada does not allow '[a-z-]+'", found.message)


def is_of_the_hub(use_case):
    return ".hub." in use_case.__module__


def test_of_the_hub_only_what_is_read_is_missing_and_not_refused(registry):
    """The exception of the test before this: no write, and nothing that is not of the hub."""
    tabled = [param.values for param in (*READS, *DECIDES, *WRITES, *WHOLES)]
    missing = {
        use_case.__name__
        for use_case, args, kwargs in tabled
        if isinstance(outcome(use_case, registry, member(), args, kwargs), NotFound)
    }

    assert missing == {"look_for", "look_for_files", "look_for_content", "look_for_refs", "look_for_commits"}


def test_a_row_of_the_trail_is_proven_to_owners_of_what_it_is_about(registry):
    reads = member("lab", rights=[*set(Right) - {Right.ADMIN}])

    for caller, number in ((member("mine"), 1), (reads, 1), (member("lab"), 999)):
        with pytest.raises(Forbidden, match="does not allow 'admin'"):
            proofs.prove_row(registry, caller, number)
    assert proofs.prove_row(registry, member("lab"), 1).position == 0


def test_a_draft_is_there_for_who_began_it_and_may_push(registry):
    ada, bob = member("lab"), replace(member("lab"), principal="bob", principal_id=2)
    reads = member("lab", rights=[Right.READ])
    drafts.keep_changes(registry, ada, LAB, {"a.json": CommitFile("a.json", 1, "a" * 64)})

    found = {
        name: drafts.look_for_draft(registry, caller, "lab/x", "main") is not None
        for name, caller in {"ada": ada, "bob": bob, "reads": reads}.items()
    }
    with pytest.raises(Forbidden):
        drafts.keep_changes(registry, reads, LAB, {})
    drafts.drop_changes(registry, bob, LAB, {"a.json": CommitFile("a.json", 1, "a" * 64)})

    assert found == {"ada": True, "bob": False, "reads": False}
    assert drafts.look_for_draft(registry, ada, "lab/x", "main") is not None


def test_what_is_staged_is_there_for_who_sent_it(registry):
    carol = replace(member("lab"), principal="carol", principal_id=3)

    ada = drafts.look_for_staged(registry, member("lab"), TREE, "a.json")
    other = drafts.look_for_staged(registry, carol, TREE, "a.json")

    assert isinstance(ada, drafts.StagedContent)
    assert ada.row.physical_key == "blobs/s/10"
    assert other is None


def test_a_session_of_another_reads_as_one_that_never_was(registry):
    told = [outcome(sessions.end_session, registry, member("lab"), [number], {}).message for number in (3, 9)]

    assert told == ["you have no session 3", "you have no session 9"]
    assert [row.id for row in sessions.list_sessions(registry, member("lab")).items] == [2]


def test_no_use_case_is_left_out_of_these_tables():
    tabled = {param.id for table in (READS, DECIDES, WRITES, ELSEWHERE, WHOLES, SHARED) for param in table}
    found = set()
    for info in pkgutil.walk_packages(deltareg.service.__path__, "deltareg.service."):
        module = importlib.import_module(info.name)
        for name, item in vars(module).items():
            if inspect.isfunction(item) and item.__module__ == info.name and name[0] != "_":
                names = list(inspect.signature(item).parameters)[:2]
                if names == ["registry", "caller"]:
                    found.add(f"{info.name.removeprefix('deltareg.service.')}.{name}")

    assert tabled == found


def test_lists_leave_out_what_their_caller_may_not_read_and_are_full_all_the_same(registry):
    add_lines(registry, "a", "lab", "mine", "z", count=3)
    caller = member("lab", "z")

    first = versions.list_lines(registry, caller, only=LineFilter(), cursor=None, limit=4)
    rest = versions.list_lines(registry, caller, only=LineFilter(), cursor=first.next_cursor, limit=4)

    assert [line.ref for line in first.items] == ["lab/0", "lab/1", "lab/2", "lab/x"]
    assert [line.ref for line in rest.items] == ["z/0", "z/1", "z/2"]
    assert rest.next_cursor is None
    inside = LineFilter(namespace="mine")
    assert versions.list_lines(registry, caller, only=inside, cursor=None, limit=9).items == []


def test_a_list_of_bases_leaves_out_versions_of_other_namespaces(registry):
    mine, lab = (
        bases.list_bases(registry, caller, root=None, cursor=None, limit=9).items
        for caller in (member("mine"), member("lab"))
    )

    assert [base.name for base in mine] == ["tiny", "tiny-bnb4"]
    assert [base.name for base in lab] == [AS_BASE, "tiny", "tiny-bnb4"]


def test_a_lineage_ends_at_the_border(registry):
    with write(registry.engine) as conn:
        team = deltas.add_namespace(conn, "team", created_by=1).id
        deltas.add_delta(conn, team, "y", created_by=1)
        row = deltas.delta_row(conn, "team", "y")
        assert row is not None
        child = rows.add_version(conn, row.id, parents=[1])
        conn.execute(sa.update(t.versions).values(manifest=rows.BASE.encode()))
        conn.execute(sa.update(t.versions).where(t.versions.c.id == child).values(base_id=2))

    both, one = (
        lineage.show_lineage(registry, caller, Ref(LineRef("team", "y"), version=1), depth=9)
        for caller in (member("team", "lab"), member("team"))
    )

    assert {edge.parent for edge in both.up} >= {"lab/x:v1", AS_BASE}
    assert one.up == []


def test_a_base_of_another_namespace_is_unknown_to_who_pushes_against_it(registry):
    with write(registry.engine) as conn:
        values = {"base_id": 2, "version_id": 2, "bottom_id": 1, "depth": 1, "recipe": ""}
        conn.execute(sa.insert(t.version_bases).values(values))
    pushed = opening("mine/y")

    hidden = outcome(uploads.open_upload, registry, member("mine"), [pushed], {})
    forget(registry)
    absent = outcome(uploads.open_upload, registry, member("mine"), [pushed], {})

    assert hidden.message == absent.message
    assert "no base here has the root" in hidden.message
    with write(registry.engine) as conn, pytest.raises(NotFound, match="there is no delta lab/x"):
        find_ground(conn, member("mine"), AS_BASE)


def add_lines(registry, *namespaces, count):
    with write(registry.engine) as conn:
        for name in namespaces:
            place = deltas.add_namespace(conn, name, created_by=1).id
            for number in range(count):
                deltas.add_delta(conn, place, str(number), created_by=1)


def forget(registry):
    """Let the database have never known anything of `lab`."""
    registry.engine.dispose()
    with closing(sqlite3.connect(registry.engine.url.database)) as conn:  # keeps no foreign key
        found = conn.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in found:
            conn.execute(f"DROP TRIGGER {name}")
        for table in t.metadata.tables.keys() - {"principals", "tokens", "agents"}:
            conn.execute(f"DELETE FROM {table}")
        conn.commit()
