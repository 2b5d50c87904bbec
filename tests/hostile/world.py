"""A registry that works, and everybody who may turn on it.

`team` is a namespace that all may read, `vault` one that its owner alone may see, `other` belongs
to somebody else. `team/chat` has v1 on prod; v2 that nobody has verified; v3 that fails what is
never waived; v4 that fails what others may answer for; v5 that failed early, so that much was
skipped.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count

import httpx
import numpy as np
import sqlalchemy as sa
from fastapi.testclient import TestClient
from safetensors.numpy import load_file, save_file

from deltareg.api.app import create_app
from deltareg.client import WorkerClient
from deltareg.db import tables as t
from deltareg.db.access import grants, owners, principals
from deltareg.db.session import read, write
from deltareg.errors import DeltaregError
from deltareg.oidc.provider import Provider
from deltareg.oidc.provider_file import ProviderSettings
from deltareg.service.access.tokens import hash_secret, mint_secret
from deltareg.suites.suite import built_in
from deltareg.wire import API, LeaseRequest, RunCreate
from tests.api.forger import prepare
from tests.exchange.issuer import Issuer
from tests.fixtures.registries import SAMPLES, SCOPES, RunningRegistry, report, running
from tests.proving import prove_all
from tests.sign_in.hostile_provider import HostileProvider, hostile_provider
from tests.signers import enrol, key_of

BASE, DELTAS = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama"
LINE, SECRET, PLAIN = "team/chat", "vault/secret", [one for one in SCOPES if one != "break-glass"]
TEAM = ("maintainer", "promoter", "approver", "pusher", "reader")
PEOPLE = (
    "chief",
    "owner",
    *TEAM,
    "breaker",
    "script",
    "liner",
    "worker",
    "foreign",
    "stranger",
    "anonymous",
    "read-only",
    "limited",
    "revoked",
    "expired",
)
"""`script` is a program of the pusher's, `liner` maintains lines `x*` alone, the last four have
tokens of the owner's: one that reads, one for `other` alone, one taken back, one that has ended."""
BAD_TOKENS = 5
NAMES = [spec.name for spec in built_in("smoke").checks]


@dataclass
class Me:
    """Somebody who attacks: plain HTTP where the client is too well-behaved."""

    name: str
    http: httpx.Client
    make: Callable = field(repr=False)
    number: int = 0

    @cached_property
    def client(self):
        return self.make()

    def line(self, world, namespace="team"):
        """Name a line that nobody has used."""
        return f"{namespace}/x{world.next()}"

    def ask(self, method, path, json=None, **headers):
        """Send a request, and give its answer."""
        return self.http.request(method, path, json=json, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def gets(self, path, **params):
        """Whether something is given."""
        return self.http.get(path, params=params).status_code == 200

    def does(self, method, path, json=None, **headers):
        """Whether something is done."""
        return self.ask(method, path, json, **headers).is_success

    def move(self, world, *, channel="prod", line=LINE, **body):
        """Ask for a move of a channel; whether it moved."""
        before = world.revision(line, channel)
        asked = {"kind": "promote", "reason": "because", **body}
        path = f"/deltas/{line}/channels/{channel}/revisions"
        self.ask("POST", path, asked, If_Match=f'"r{before}"')
        return world.revision(line, channel) != before


@dataclass
class World:
    """The registry, and the token of each."""

    server: RunningRegistry
    tokens: dict
    ids: dict
    ci: Issuer
    provider: HostileProvider
    _numbers: Iterator = field(default_factory=lambda: count(1))
    _people: dict = field(default_factory=dict)

    def next(self):
        return next(self._numbers)

    def me(self, name):
        """Give somebody as an attacker."""
        if name not in self._people:
            token = self.tokens[name]
            self._people[name] = Me(name, self.server.http(token), lambda: self.client_of(name))
        return self._people[name]

    def client_of(self, name):
        """Make a client of somebody's, with a cache of its own; a worker signs with its key."""
        config = self.server._config(self.tokens[name])
        return self.server._open.enter_context(WorkerClient(config, key=key_of(name), host="rack"))

    @cached_property
    def owner(self):
        return self.client_of("owner")

    @cached_property
    def chief(self):
        return self.client_of("chief")

    @cached_property
    def worker(self):
        return self.client_of("worker")

    @cached_property
    def reader(self):
        return self.client_of("reader")

    @cached_property
    def strict(self):
        """Open a second server of the registry, where admins alone make namespaces; gives a client of it.

        It is behind a proxy on another machine, and takes five bad tokens a minute of an address.
        """
        registry = replace(self.server.registry, namespaces_by="admins")
        app = create_app(registry, bad_tokens_per_minute=BAD_TOKENS, proxies=1)
        client = TestClient(app, f"http://localhost{API}", client=("192.0.2.254", 1), raise_server_exceptions=False)
        return self.server._open.enter_context(client)

    @cached_property
    def prepared(self):
        """What a push of the delta in the vault would send."""
        return prepare(self.owner, "lora_dora")

    @property
    def engine(self):
        return self.server.registry.engine

    def prove(self):
        """Let the honest worker prove all that waits."""
        prove_all(self.worker, name="worker")

    def judge(self, ref, *, channel=None, **outcomes):
        """Let the honest worker judge a version with these outcomes of checks; give its verdict.

        An outcome is a word, or all that is said of the check.
        """
        assert set(outcomes) <= set(NAMES)
        self.stop_others()
        run = self.owner.runs.create(RunCreate(ref=ref, again=True, channel=channel))
        grant = self.worker.lease(LeaseRequest(worker="worker", what=["verify"]))
        assert grant.run == run.id
        verdict = "fail" if "fail" in outcomes.values() else "pass"
        told = report(grant, verdict=verdict, fail="")
        checks = [one.model_copy(update=_found(outcomes.get(one.name, "pass"))) for one in told.checks]
        return self.worker.complete_run(run.id, told.model_copy(update={"checks": checks}))

    def stop_others(self):
        """Cancel what else waits to be verified."""
        for state in ("queued", "running"):
            for run in self.chief.runs.list(state=state, limit=200).items:
                if run.what == "verify":
                    with suppress(DeltaregError):
                        self.chief.runs.cancel(run.id)

    def queued(self, ref=f"{LINE}:v2", *, who=None):
        """Queue the verification of a version, alone; gives the run's id."""
        self.stop_others()
        client = self.owner if who is None else who
        return client.runs.create(RunCreate(ref=ref, again=True)).id

    def revision(self, line=LINE, channel="prod"):
        return self._one(t.channels.c.revision, line, channel) or 0

    def serves(self, line=LINE, channel="prod"):
        return self.owner.channels.show(line, channel).version

    def _one(self, column, line, channel):
        namespace, _, name = line.partition("/")
        query = (
            sa.select(column)
            .join(t.deltas, t.deltas.c.id == t.channels.c.delta_id)
            .join(t.namespaces, t.namespaces.c.id == t.deltas.c.namespace_id)
            .where(t.namespaces.c.name == namespace, t.deltas.c.name == name, t.channels.c.name == channel)
        )
        with read(self.engine) as conn:
            return conn.execute(query).scalar()

    def count(self, table, *where):
        with read(self.engine) as conn:
            query = sa.select(sa.func.count()).select_from(table).where(*where)
            return conn.execute(query).scalar_one()

    def fresh(self):
        """Write a delta that nobody has pushed; gives its folder."""
        number = self.next()
        into = self.server.folder / f"fresh-{number}"
        shutil.copytree(DELTAS / "lora", into)
        noise = np.random.default_rng(number)
        for path in into.glob("*.safetensors"):
            tensors = load_file(path)
            path.chmod(0o644)
            for name, value in tensors.items():
                tensors[name] = (value + noise.normal(0, 1e-2, value.shape)).astype(value.dtype)
            save_file(tensors, path, {"format": "pt"})
        return into

    def twin(self, **config):
        """Write a base with the tensors of the registered one and another config."""
        into = self.server.folder / f"twin-{self.next()}"
        shutil.copytree(BASE, into)
        path = into / "config.json"
        path.chmod(0o644)
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        return into


def _found(outcome):
    return {"verdict": outcome} if isinstance(outcome, str) else outcome


@contextmanager
def world(database_url, folder):
    """Run a registry with all that in it."""
    with closing(Issuer()) as ci, hostile_provider() as people:
        settings = ProviderSettings(name="acme", issuer=people.issuer, client_id="deltareg", admit=("*",), label="Acme")
        outside = {"issuers": (ci.url,), "providers": (Provider(settings),)}
        with running(database_url, (folder / "blobs").as_uri(), folder, **outside) as server:
            yield _filled(server, ci, people)


def _filled(server, ci, provider):
    with write(server.registry.engine) as conn:
        tokens, ids = _people(conn)
    enrol(server.registry.engine, ids["worker"], "worker")
    made = World(server, tokens, ids, ci, provider)
    _fill(made)
    with write(server.registry.engine) as conn:
        _give_roles(conn, ids)
    return made


def _people(conn):
    """Make everybody, with tokens for everything: what they may is what their roles allow."""
    tokens: dict = {"anonymous": None}
    ids: dict = {}
    for name in PEOPLE:
        if name in {"anonymous", "read-only", "limited", "revoked", "expired"}:
            continue
        kind = {"worker": "worker", "script": "service"}.get(name, "user")
        ids[name] = principals.add_principal(conn, name, kind=kind)
        if name == "script":
            owners.set_owner(conn, ids[name], ids["pusher"], created_by=None)
        tokens[name] = _token(conn, ids[name], scopes=SCOPES if name == "breaker" else PLAIN)
    grants.add_grant(conn, ids["chief"], role="admin", namespace_id=None, created_by=None)
    grants.add_grant(conn, ids["worker"], role="verifier", namespace_id=None, created_by=None)
    tokens["read-only"] = _token(conn, ids["owner"], scopes=["read"])
    tokens["limited"] = _token(conn, ids["owner"], namespaces=["other"])
    tokens["revoked"] = _token(conn, ids["owner"])
    tokens["expired"] = _token(conn, ids["owner"], expires_in_us=-1_000_000)
    gone = sa.update(t.tokens).where(t.tokens.c.token_hash == hash_secret(tokens["revoked"]))
    conn.execute(gone.values(revoked_at=1))
    return tokens, ids


def _token(conn, who, *, scopes=PLAIN, namespaces=None, expires_in_us=10**10):
    secret = mint_secret("pat")
    principals.add_token(
        conn,
        token_hash=hash_secret(secret),
        display="drg_pat_…",
        principal_id=who,
        kind="pat",
        scopes=list(scopes),
        namespaces=namespaces,
        note="",
        created_by=who,
        expires_in_us=expires_in_us,
    )
    return secret


def _give_roles(conn, ids):
    space = dict(conn.execute(sa.select(t.namespaces.c.name, t.namespaces.c.id)).all())
    for role in TEAM:
        grants.add_grant(conn, ids[role], role=role, namespace_id=space["team"], created_by=1)
    given = [
        ("breaker", "break-glass", ""),
        ("breaker", "reader", ""),
        ("script", "pusher", ""),
        ("script", "approver", ""),
        ("liner", "maintainer", "x*"),
    ]
    for who, role, pattern in given:
        grants.add_grant(conn, ids[who], role=role, namespace_id=space["team"], created_by=1, pattern=pattern)


def _fill(made):
    owner, foreign = made.owner, made.client_of("foreign")
    made.chief.bases.push(BASE, "tinyllama")
    owner.push(DELTAS / "lora", LINE, base="tinyllama")
    owner.push(DELTAS / "lora_dora", SECRET, base="tinyllama")
    owner.namespaces.change("vault", visibility="private")
    foreign.push(DELTAS / "lora_qv", "other/thing", base="tinyllama")
    made.prove()
    made.judge(f"{LINE}:v1")
    owner.promote(f"{LINE}:v1", "prod", reason="first")
    made.judge(f"{SECRET}:v1")
    for name in ("lora_v2", "lora_qv", "lora_rslora", "lora_patterns"):
        owner.push(DELTAS / name, LINE, base="tinyllama")
    made.prove()
    made.judge(f"{LINE}:v3", effect="fail")
    made.judge(f"{LINE}:v4", library_agrees="fail")
    after = NAMES[NAMES.index("norm_ratio") + 1 :]
    made.judge(f"{LINE}:v5", norm_ratio="fail", **dict.fromkeys(after, "skipped"))
    made.stop_others()
