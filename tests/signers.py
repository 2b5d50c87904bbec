"""Workers that the tests play: each principal has a key of its own, made of its name.

What a test reports as a worker is signed here and nowhere else.
"""

from functools import cache
from hashlib import sha256

from deltareg.client import WorkerClient
from deltareg.db.access import principals
from deltareg.db.session import read, with_retry
from deltareg.db.verdicts import signing as queries
from deltareg.signing.envelopes import seal
from deltareg.signing.key_file import write_key
from deltareg.signing.keys import SigningKey
from deltareg.signing.signed_statements import sign_statement
from deltareg.signing.statement import PAYLOAD_TYPE, Statement, encode_statement
from deltareg.wire import SignedReport
from deltareg.wire.statements import VERDICT, verdict_statement
from deltareg.wire.work import work_statement

AT = "2026-11-27T10:00:00.000Z"


@cache
def key_of(name):
    """Give the key of a worker that is called so."""
    return SigningKey.of_seed(sha256(name.encode()).digest())


def enrol(engine, principal_id, name, *, key=None, host=None):
    """Enrol a principal with its key, unless it is; gives the key."""
    key = key or key_of(name)
    with read(engine) as conn:
        if queries.find_key(conn, public=str(key.public)) is not None:
            return key
    with_retry(
        engine,
        lambda conn: queries.add_key(
            conn,
            role="worker",
            name=name,
            principal_id=principal_id,
            keyid=key.keyid,
            public=str(key.public),
            host=f"host-of-{name}" if host is None else host,
            created_by=None,
        ),
    )
    return key


def enrol_named(engine, name):
    """Enrol the worker of that name, whose principal is there."""
    with read(engine) as conn:
        found = principals.principal_id(conn, name)
    return enrol(engine, found, name)


def key_file(folder, name="worker"):
    """Write the key of a worker into a file, as its process finds it."""
    path = folder / f"{name}-key.pem"
    if not path.exists():
        write_key(path, key_of(name))
    return path


def statement_of(grant, report, *, worker="w1", labels=None, host="here"):
    """Make the statement of a report."""
    return verdict_statement(
        grant, report, worker=worker, host=host, labels=labels or {}, started_at=AT, finished_at=AT
    )


def sign(grant, report, key, *, worker="w1", labels=None):
    """Sign a report as the worker that was given a lease."""
    envelope = sign_statement(statement_of(grant, report, worker=worker, labels=labels), key)
    return SignedReport(fence=report.fence, envelope=envelope.decode())


def sign_work(grant, report, key):
    """Sign what came of a run that proves or stores anew."""
    envelope = sign_statement(work_statement(grant, report), key).decode()
    return report.model_copy(update={"envelope": envelope})


def sign_fields(lease, fields, key, *, worker="w1"):
    """Sign the fields of a report as JSON has them, whatever they are; gives the body to send."""
    return sign_text(lease, fields, key, worker=worker)


def sign_text(lease, fields, key, *, worker="odd", instead=("", "")):
    """Sign a report with one piece of its text in the place of another."""
    said = dict(fields)
    predicate = {
        "run": lease["run"],
        "fence": said.pop("fence"),
        "nonce": lease["nonce"],
        "suite": {"name": lease["suite"], "digest": said.pop("suite_digest")},
        "base": {
            "name": lease["base"]["name"],
            "root": lease["base"]["root"],
            "identity": said.pop("base_identity", ""),
        },
        "worker": {"name": worker},
        "started_at": AT,
        "finished_at": AT,
        "compared_with": lease["promoted_digest"],
        **said,
    }
    digest = lease["digest"].removeprefix("sha256:")
    payload = encode_statement(Statement(lease["ref"], digest, VERDICT, predicate))
    payload = payload.replace(*(part.encode() for part in instead)) if instead[0] else payload
    envelope = seal(payload, key, payload_type=PAYLOAD_TYPE)
    return {"fence": predicate["fence"], "envelope": envelope.decode()}


class ActingClient(WorkerClient):
    """A user's client that plays a worker's part as well: by a worker beside it."""

    def __init__(self, config, make_worker):
        super().__init__(config)
        self._make_worker = make_worker
        self._made = None

    @property
    def worker(self):
        if self._made is None:
            self._made = self._make_worker()
        return self._made

    def lease(self, request):
        return self.worker.lease(request)

    def heartbeat(self, hold):
        self.worker.heartbeat(hold)

    def append_log(self, run_id, lines):
        self.worker.append_log(run_id, lines)

    def complete_run(self, run_id, report):
        return self.worker.complete_run(run_id, report)

    def reencode(self, grant, base, scratch):
        return self.worker.reencode(grant, base, scratch)

    def complete_reencode(self, run_id, report):
        return self.worker.complete_reencode(run_id, report)

    def bring_stored(self, grant, into, *, is_anew=False):
        return self.worker.bring_stored(grant, into, is_anew=is_anew)

    def complete_proof(self, run_id, report):
        return self.worker.complete_proof(run_id, report)

    def fail_run(self, run_id, failure):
        self.worker.fail_run(run_id, failure)
