"""The general probe set of a base, and the base's figures on it as workers measured them.

The server draws it from the base's identity and config, so whoever registers a base cannot
influence how the deltas on it are probed. A base of an older release gets its set when somebody
first asks for it.
"""

import sqlalchemy as sa

from deltareg.db.bases import base_probes as queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.bases.unmeasured import forget_unmeasured
from deltareg.db.session import read, with_retry
from deltareg.db.verdicts import signing as signing_queries
from deltareg.delta.base_manifest import base_view
from deltareg.documents.json_values import is_object, parse_json
from deltareg.errors import BadSignature, Conflict, DeltaregError, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.service.authority.grants import WORKER, Right
from deltareg.service.authority.resources import EVERYTHING, Base
from deltareg.service.base_parts import identity_of, manifest_of_base
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base
from deltareg.signing.keys import PublicKey
from deltareg.signing.signed_statements import open_statement
from deltareg.suites.base_probes import BaseProbes, draw
from deltareg.wire import BaseFigures, BaseProbeSet, FiguresReport
from deltareg.wire.statements import FIGURES, read_figures

MOST = 64
"""In how many surroundings, and by how many workers, a base may be measured."""


def show_probes(registry: Registry, caller: Caller, name: str) -> BaseProbeSet:
    """Show the probe set of a base with its measured figures; draw the set where there is none.

    Raises:
        NotFound: There is no such base, or its manifest is damaged.
    """
    caller.require(Right.READ, on=Base(name))
    with read(registry.engine) as conn:
        base = find_base(conn, caller, name)
        if queries.probes_document(conn, base.id) is not None:
            return _show_probes(conn, base)

    def transaction(conn: sa.Connection) -> BaseProbeSet:
        draw_probes(conn, base)
        return _show_probes(conn, base)

    return with_retry(registry.engine, transaction)


def draw_probes(conn: sa.Connection, base: BaseRow, manifest: Manifest | None = None) -> None:
    """Draw the probe set of a base, in a transaction that writes; an existing set stays."""
    if queries.probes_document(conn, base.id) is not None:
        return
    try:
        config = base_view(manifest or manifest_of_base(conn, base)).config
    except DeltaregError:  # as damaged as it is: `fsck` names it
        return
    probes = draw(identity_of(conn, base) or base.root, config)
    queries.add_probes(conn, base.id, digest=str(probes.digest), document=probes.encode())


def add_figures(registry: Registry, caller: Caller, name: str, report: FiguresReport) -> BaseProbeSet:
    """Store the figures that a worker measured on a base; the same figures again change nothing.

    Raises:
        BadSignature: The report is not signed with an enrolled key of the worker, or is about
            another base or other probes.
        Conflict: The base already has as many figures as it may have.
    """
    caller.require(Right.VERIFY, on=EVERYTHING)
    envelope = report.envelope.encode()

    def transaction(conn: sa.Connection) -> BaseProbeSet:
        base = find_base(conn, caller, name)
        draw_probes(conn, base)
        key = signing_queries.live_worker_key(conn, caller.principal_id)
        if key is None or key.role != WORKER:
            raise BadSignature("figures of a base are taken from enrolled workers", fix="deltareg worker keys")
        public = PublicKey.parse(key.public)
        signed = open_statement(envelope, {public.keyid: public}, predicate_type=FIGURES)
        figures, probe_set = read_figures(signed.statement), _show_probes(conn, base)
        is_same = (figures.base.root, figures.base.identity) == (probe_set.root, probe_set.identity)
        if not is_same or f"sha256:{signed.statement.sha256}" != probe_set.digest:
            raise BadSignature(
                f"the figures are not about {base.name} and its probes",
                fix="run a worker of the server's release: deltareg version",
            )
        if len(probe_set.figures) >= MOST:
            raise Conflict(f"{base.name} was measured in {MOST} ways already")
        is_new = queries.add_figures(
            conn,
            base.id,
            surroundings=figures.surroundings,
            keyid=signed.keyid,
            envelope=envelope,
            created_by=caller.principal_id,
        )
        forget_unmeasured(conn, base.id, device=device_of(figures.surroundings))
        if is_new:
            caller.record(
                conn,
                Action.BASE_MEASURE,
                f"base/{base.name}",
                on=Base(base.name),
                before=None,
                after={"probes": probe_set.digest, "keyid": signed.keyid},
            )
        return _show_probes(conn, base)

    return with_retry(registry.engine, transaction)


def device_of(surroundings: str) -> str:
    """Return the device that figures were measured on; empty where their worker does not say."""
    try:
        said: object = parse_json(surroundings)
    except ValueError:
        return ""
    return str(said.get("device", "")) if is_object(said) else ""


def _show_probes(conn: sa.Connection, base: BaseRow) -> BaseProbeSet:
    document = queries.probes_document(conn, base.id)
    if document is None:
        raise NotFound(f"the base {base.name} has no probe set: its manifest cannot be read", fix="deltareg fsck")
    probes = BaseProbes.decode(document)
    return BaseProbeSet(
        base=base.name,
        root=base.root,
        identity=identity_of(conn, base),
        digest=str(probes.digest),
        modalities=list(probes.modalities),
        texts=len(probes.texts),
        document=document.decode(),
        figures=[
            BaseFigures(
                surroundings=row.surroundings,
                keyid=row.keyid,
                signed_by=row.signer,
                created_at=rfc3339(row.created_at),
                envelope=row.envelope.decode(),
            )
            for row in queries.figures_rows(conn, base.id)
        ],
    )
