"""A registry with one of everything in the namespace `lab`, and somebody for each role in it.

The app is asked in this process: what is answered is what a server answers, a hundred times as
quick. `lab` is as visible as a test makes it; `nowhere` is a namespace that nobody ever made.
"""

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

import sqlalchemy as sa
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from deltareg.api.app import create_app
from deltareg.api.hub.elsewhere import off
from deltareg.db import tables as t
from deltareg.db.access import grants, groups, identities, namespaces, owners, principals, roles, sign_ins, trusts
from deltareg.db.access.leaving import set_disabled
from deltareg.db.session import create_engine, read, write
from deltareg.db.sql.row_protocols import present
from deltareg.digest import Digest, sha256_of
from deltareg.identity.manifest import BASE_KIND, Manifest, ManifestFile, ManifestTensor, Piece
from deltareg.identity.storage_map import StorageMap
from deltareg.service.access.tokens import KINDS, hash_secret, mint_secret
from deltareg.service.registry import Registry
from deltareg.service.telling.signature import about_address, about_secret
from deltareg.signing.secret_box import SecretBox
from deltareg.store.memory import MemoryStore
from deltareg.suites.suite import read_suite
from deltareg.words import Scope
from tests.fixtures.registries import SCOPES
from tests.migrations.populated import ROWS, T0
from tests.service import rows

LOOPBACK = (ip_network("127.0.0.0/8"),)
ROOT = Digest.parse(rows.BASE_ROOT)
_HEADER = Piece(ROOT, "U8", (8,), 8)
_WEIGHT = ManifestTensor("m.safetensors", "w", "weight", "", "F32", (1,), ROOT)
_FILE = ManifestFile("m.safetensors", 12, rows.BASE.digest, _HEADER, is_tensors=True)
WEIGHTS = Manifest(BASE_KIND, "", False, None, {"config_json": "{}"}, (_WEIGHT,), (_FILE,))
ROLES = ("owner", "maintainer", "promoter", "approver", "pusher", "reader", "server", "break-glass")
_SHORT = re.compile(r"(sha256|blake3):[0-9a-z]{1,2}")
WIDE = {"wide-reader": "reader", "wide-verifier": "verifier", "wide-admin": "admin"}
AS = {"grouped": "pusher", "script": "reader", "signed-in": "promoter", "exchanged": "pusher"}
"""Who may in `lab` what a role there gives, though not by a role of their own or not by any token."""
OTHERS = ("leaver", "script-of-group", "narrowed")


@dataclass
class World:
    """The app, and the token of each principal; None for nobody."""

    registry: Registry
    tokens: dict[str, str | None]
    clients: dict[bool, TestClient] = field(default_factory=dict)

    def ask(self, who, route, names, *, anonymous_reading=True, **given):
        """Send one request; names stand in the route's path."""
        method, _, path = route.partition(" ")
        token = self.tokens[who]
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= given.pop("headers", {})
        client = self.clients[anonymous_reading]
        return client.request(method, path.format(**names), headers=headers, **given)

    def make(self, visibility):
        """Make `lab` as visible as that, and put back what somebody took out of it."""
        with write(self.registry.engine) as conn:
            namespaces.set_visibility(conn, 1, visibility)
            _put_back(conn, self.registry.box)

    def trail(self):
        """Count what was written down."""
        with read(self.registry.engine) as conn:
            return conn.execute(sa.select(sa.func.count()).select_from(t.audit)).scalar_one()


@contextmanager
def world(url, **options):
    """Fill a migrated database, and serve it; options are those of `create_app`."""
    engine = create_engine(url)
    with write(engine) as conn:
        for table, values in ROWS:
            dated = {"created_at": T0} if "created_at" in table.c else {}
            conn.execute(sa.insert(table).values({**_with_digests(values), **dated}))
    box, _ = SecretBox.generate()
    registry = Registry(engine, MemoryStore(), box=box, networks=LOOPBACK)
    with write(engine) as conn:
        _add_rows(conn)
        _seal(conn, box)
        tokens = _add_people(conn)
    found = World(registry, tokens)
    apps = [create_app(registry, anonymous_reading=each, **options) for each in (False, True)]
    with (
        TestClient(apps[0], "http://localhost", raise_server_exceptions=False) as shut,
        TestClient(apps[1], "http://localhost", raise_server_exceptions=False) as opened,
    ):
        found.clients.update({False: shut, True: opened})
        yield found
    engine.dispose()


def routes(*, with_heads=False, **options):
    """List every route of an app, as `METHOD /path`; options are those of `create_app`.

    Those that say that there is no interface of the hub look at nothing, and are left out.
    """
    app = create_app(Registry(sa.create_engine("sqlite://"), MemoryStore()), **options)
    without = set() if "hub_main" in options else {context.path for context in iter_route_contexts(off.routes)}
    return sorted(
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
        if route.path not in without and (with_heads or method != "HEAD")
    )


def plain(answer, **renamed):
    """Give an answer without what tells one request from another, and with names changed."""
    text = answer.text
    for old, new in renamed.values():
        text = text.replace(old, new)
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    if isinstance(body, dict):
        body.pop("request_id", None)
    return answer.status_code, body


def _with_digests(value):
    """Give rows of `populated` with whole digests, which have to be read here."""
    match value:
        case str() if _SHORT.fullmatch(value):
            return str(sha256_of(value.encode())) if value[0] == "s" else f"{value:0<71}"
        case {"name": _} if set(value) == {"name"}:
            return value | {"verdict": "pass"}
        case dict():
            return {key: _with_digests(each) for key, each in value.items()}
        case list():
            return [_with_digests(each) for each in value]
        case _:
            return value


def _add_rows(conn):
    """Add what is looked at: manifests that can be read, a run with a verdict, open uploads."""
    raw = WEIGHTS.encode()
    for table in (t.bases, t.uploads, t.versions):
        conn.execute(sa.update(table).values(manifest=raw))
    empty = StorageMap((), {}).encode()
    conn.execute(sa.update(t.bases).where(t.bases.c.id == 1).values(storage_map=empty))
    for table in (t.bases, t.uploads):
        with rows.unguarded(conn, table):
            conn.execute(sa.update(table).values(manifest_digest=WEIGHTS.digest.hex))
    base = {**_row(t.bases), "id": 20, "name": "lab/x:v2", "root": rows.BASE_ROOT}
    conn.execute(sa.insert(t.bases).values(base | {"manifest": raw}))
    above = {"base_id": 20, "version_id": 2, "bottom_id": 1, "depth": 1, "recipe": ""}
    conn.execute(sa.insert(t.version_bases).values(above))
    document = read_suite(b"name: mine\nchecks: [effect]").document
    suite = {"id": 20, "number": 2, "digest": str(sha256_of(b"t")), "document": document}
    for table in (t.suites, t.release_suites):
        with rows.unguarded(conn, table):
            conn.execute(sa.update(table).values(document=document))
    conn.execute(sa.insert(t.suites).values({**_row(t.suites), **suite}))
    for number in (2, 3):
        run = {**_row(t.runs), "id": f"r{number}", "dedup_key": f"k{number}"}
        state = {"state": "queued"} if number == 3 else {}
        conn.execute(sa.insert(t.runs).values(run | state))
    failed = {"verdict": "fail", "checks": [{"name": "effect", "verdict": "fail"}]}
    verdict = {**_row(t.verdicts), "id": "v2", "run_id": "r2", **failed}
    conn.execute(sa.insert(t.verdicts).values(verdict))
    conn.execute(sa.insert(t.search_terms).values(term="=in:lab", version_id=1))  # as a push would
    if conn.dialect.name == "postgresql":  # rows came with their numbers
        for table in t.metadata.sorted_tables:
            if "id" in table.c and isinstance(table.c.id.type, sa.Integer | sa.BigInteger):
                conn.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), 1000)")


def _seal(conn, box):
    """Let the webhook go where nobody listens."""
    address = box.seal("http://127.0.0.1:9/", about_address("wh_1"))
    conn.execute(sa.update(t.webhooks).values(address=address))
    conn.execute(sa.update(t.webhook_secrets).values(sealed=box.seal("c2VjcmV0", about_secret("wh_1"))))


def _put_back(conn, box):
    """Add the webhook again that was removed, and the event that was kept for its week."""
    for table in (t.outbox, t.webhooks, t.webhook_secrets, t.deliveries, t.delivery_attempts):
        row = _row(table)
        if conn.execute(sa.select(table.c.id).where(table.c.id == row["id"])).first() is None:
            dated = {"created_at": T0} if "created_at" in table.c else {}
            conn.execute(sa.insert(table).values(row | dated))
            if table is t.webhook_secrets:
                _seal(conn, box)


def _row(table):
    """Give what `populated` has in a table, the last of it."""
    return _with_digests(dict(ROWS)[table])


def _add_people(conn):
    """Add somebody for each role in `lab`, some who have nothing there, and some everywhere."""
    tokens: dict[str, str | None] = {}
    for role in ROLES:
        who = _add_person(conn, role, tokens)
        grants.add_grant(conn, who, role=role, namespace_id=1, created_by=1)
    who = _add_person(conn, "liner", tokens)
    grants.add_grant(conn, who, role="maintainer", namespace_id=1, pattern="y*", created_by=1)
    who = _add_person(conn, "limited", tokens, namespaces=["other"])
    grants.add_grant(conn, who, role="owner", namespace_id=1, created_by=1)
    _add_person(conn, "foreign", tokens)
    for name, role in WIDE.items():
        who = _add_person(conn, name, tokens)
        grants.add_grant(conn, who, role=role, namespace_id=None, created_by=1)
    _add_others(conn, tokens)
    return tokens | {"anonymous": None}


def _add_others(conn, tokens):
    """Add who has something by a group, a script, a sign-in, an exchange or a role of one's own; or had."""
    crew = present(groups.add_group(conn, "crew", source="", created_by=1))
    grants.add_grant(conn, crew.id, role="pusher", namespace_id=1, created_by=1)
    for name in ("grouped", "leaver"):
        groups.add_membership(conn, crew.id, _add_person(conn, name, tokens), created_by=1)
    groups.end_membership(conn, crew.id, present(principals.principal_id(conn, "leaver")))
    owner = present(principals.principal_id(conn, "owner"))
    script = _add_person(conn, "script", tokens, kind="ci")
    owners.set_owner(conn, script, owner, created_by=1)
    grants.add_grant(conn, script, role="reader", namespace_id=1, created_by=1)
    # What its owners may do is not what it may do.
    owners.set_owner(conn, _add_person(conn, "script-of-group", tokens, kind="ci"), crew.id, created_by=1)
    gone = _add_person(conn, "disabled", tokens)
    grants.add_grant(conn, gone, role="owner", namespace_id=1, created_by=1)
    set_disabled(conn, gone, is_disabled=True)  # its token is as it was, which no route of ours leaves
    _sign_in(conn, tokens)
    _exchange(conn, tokens, owner)
    narrowed = _add_person(conn, "narrowed", tokens)
    roles.add_role(conn, "shipper", namespace_id=1, rights="promote+read", created_by=1)
    own = present(roles.find_role(conn, "shipper", 1))
    grants.add_grant(conn, narrowed, role="shipper", namespace_id=1, pattern="x*@dev", created_by=1, role_id=own.id)


def _sign_in(conn, tokens):
    """Let somebody who promotes have the token of a sign-in."""
    who = _add_person(conn, "signed-in", tokens)
    grants.add_grant(conn, who, role="promoter", namespace_id=1, created_by=1)
    identity = identities.add_identity(conn, issuer="https://okta.example", subject="s", principal_id=who, email="")
    token = principals.live_tokens_of(conn, who)[0].id
    sign_ins.add_sign_in(
        conn, identity_id=identity, token_id=token, provider="okta", sid=None, refresh=None, machine="", for_us=10**12
    )


def _exchange(conn, tokens, owner):
    """Let a service account that could maintain have what a trust gives: to push, in `lab` alone."""
    who = principals.add_principal(conn, "exchanged", kind="service")
    owners.set_owner(conn, who, owner, created_by=1)
    grants.add_grant(conn, who, role="maintainer", namespace_id=1, created_by=1)
    scopes: list[Scope] = ["push", "read"]
    trust = trusts.add_trust(
        conn,
        namespace_id=1,
        principal_id=who,
        provider="github",
        issuer="https://issuer.example",
        audience="https://registry.example",
        conditions={"repository_id": "74", "repository_owner_id": "65"},
        scopes=scopes,
        note="",
        created_by=owner,
    )
    claims = {"provider": "github", "issuer": "https://issuer.example", "repository": "lab/models"}
    _add_token(conn, "exchanged", who, tokens, kind="ci", scopes=scopes, namespaces=["lab"], trust=(trust, claims))


def _add_person(conn, name, tokens, *, kind="pat", namespaces=None):
    who = principals.add_principal(conn, name, kind=KINDS[kind])
    _add_token(conn, name, who, tokens, kind=kind, scopes=SCOPES, namespaces=namespaces)
    return who


def _add_token(conn, name, who, tokens, *, kind, scopes, namespaces, trust=(None, None)):
    secret = tokens[name] = mint_secret(kind)
    principals.add_token(
        conn,
        token_hash=hash_secret(secret),
        display=secret[:12],
        principal_id=who,
        kind=kind,
        scopes=list(scopes),
        namespaces=namespaces,
        note="",
        created_by=1,
        expires_in_us=None,
        trust_id=trust[0],
        claims=trust[1],
    )
