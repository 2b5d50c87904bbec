"""A registry with a company in it: a hundred people, groups, scripts, twelve namespaces; and its model.

Everything is drawn from a seed. The app is asked in this process, as in `tests/api/world.py`.
"""

import random
from contextlib import contextmanager
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi.testclient import TestClient

from deltareg.api.app import create_app
from deltareg.db import tables as t
from deltareg.db.access import grants, groups, namespaces, owners, principals, roles, trusts
from deltareg.db.lines import deltas
from deltareg.db.session import create_engine, read, write
from deltareg.db.sql.row_protocols import present
from deltareg.service.access.tokens import KINDS, hash_secret, mint_secret
from deltareg.service.issuers import Issuers
from deltareg.service.registry import Registry
from deltareg.store.memory import MemoryStore
from deltareg.wire import API
from tests.exchange.conftest import AUDIENCE, FORM, GRANT, ID_TOKEN
from tests.exchange.issuer import documented
from tests.hostile.company import Token, Trust
from tests.hostile.company_tokens import Issuing
from tests.service import rows
from tests.service.access_model import BUILT_IN

NAMES = ["amber", "birch", "cedar", "delft", "ember", "fjord", "grove", "haven", "inlet", "jetty", "knoll", "lotus"]
SPARE = ["maple", "nacre", "orbit", "prism", "quill", "ridge"]
PEOPLE = [f"p{number:03}" for number in range(100)]
ADMINS = PEOPLE[:3]
BOTS = [f"bot-{number}" for number in range(10)]
GROUPS = [f"crew-{number}" for number in range(8)]
LINES, CHANNELS = ("bert-1", "gpt"), ("dev", "prod")
PATTERNS = ("", "", "", "bert-*", "gpt", "bert-*@prod", "*@dev")
OWN = ("releaser", "trainer", "warden")
GIVEN = ("push", "promote", "approve", "serve", "maintain", "break-glass")
SCOPES = ("read", "push", "promote", "approve", "verify", "serve", "admin")
VISIBILITIES = ("private", "private", "internal", "public")
ROLES = (*BUILT_IN, *OWN, *OWN)
_PAT = {"user": "pat", "service": "ci"}


class World:
    """The app, the model, and what is needed to ask."""

    def __init__(self, registry, http, issuer):
        self.registry, self.http, self.issuer = registry, http, issuer
        self.model = Issuing(set(), {name: set() for name in GROUPS})
        self.requests: dict[str, int] = {}

    def ask(self, token, method, path, json=None, headers=None, **params):
        """Send a request with a token; note that it was used."""
        headers = {"Authorization": f"Bearer {token.secret}", **(headers or {})}
        answer = self.http.request(method, f"{API}{path}", json=json, headers=headers, params=params)
        token.is_used |= answer.status_code != 401
        return answer

    def exchange(self, trust):
        """Ask for a token of a trust, as a workflow would."""
        assertion = self.issuer.sign(documented("github", iss=self.issuer.url, aud=AUDIENCE))
        fields = {
            "grant_type": GRANT,
            "subject_token_type": ID_TOKEN,
            "subject_token": assertion,
            "trust": trust.number,
        }
        return self.http.post(f"{API}/tokens:exchange", content=urlencode(fields), headers={"Content-Type": FORM})

    def grant_number(self, who, role, namespace, pattern):
        """Look up by which number a role that somebody holds is known."""
        with read(self.registry.engine) as conn:
            held = grants.grant_rows(conn, principal_id=principals.principal_id(conn, who), role=role)
            return next((row.id for row in held if (row.namespace, row.pattern) == (namespace, pattern)), 10**6)

    def newest_token(self):
        with read(self.registry.engine) as conn:
            return conn.execute(sa.select(sa.func.max(t.tokens.c.id))).scalar_one()

    def held(self):
        """Read who holds what, and which tokens are live, from the database."""
        with read(self.registry.engine) as conn:
            held = {(row.principal, row.role, row.namespace, row.pattern) for row in grants.grant_rows(conn)}
            live = conn.execute(
                sa.select(t.tokens.c.id)
                .join(t.principals, t.principals.c.id == t.tokens.c.principal_id)
                .where(t.tokens.c.revoked_at.is_(None), t.principals.c.disabled_at.is_(None))
            ).scalars()
            return held, set(live)


@contextmanager
def company(template, folder, issuer, seed):
    """Fill a copy of a migrated database with a company drawn from a seed, and serve it."""
    path = folder / f"company-{seed}.db"
    path.write_bytes(template.read_bytes())
    engine = create_engine(f"sqlite:///{path}")
    registry = Registry(engine, MemoryStore(), issuers=Issuers((issuer.url,)))
    rows.base(engine)
    app = create_app(registry)
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as http:
        world = World(registry, http, issuer)
        with write(engine) as conn:
            _fill(conn, world, random.Random(seed))
        yield world
    engine.dispose()
    path.unlink()


def _fill(conn, world, drawn):
    ids: dict[str, int] = {}
    model = world.model
    for name in (*PEOPLE, *BOTS):
        model.kinds[name] = "user" if name in PEOPLE else "service"
        ids[name] = principals.add_principal(conn, name, kind=model.kinds[name])
    for name in GROUPS:
        ids[name] = present(groups.add_group(conn, name, source="", created_by=None)).id
        model.members[name] = set(drawn.sample(PEOPLE, drawn.randint(1, 6)) + drawn.sample(BOTS, drawn.randint(0, 1)))
        for who in sorted(model.members[name]):
            groups.add_membership(conn, ids[name], ids[who], created_by=None)
    for name in BOTS:
        model.owners[name] = drawn.choice((*PEOPLE, *GROUPS))
        owners.set_owner(conn, ids[name], ids[model.owners[name]], created_by=None)
    spaces = _add_namespaces(conn, world, drawn, ids)
    _give(conn, world, drawn, ids, spaces)
    for account in BOTS[:4]:
        _add_trust(conn, world, ids, spaces, account, drawn.choice(NAMES))
    for name in (*PEOPLE, *BOTS):
        _add_token(conn, world, ids, Token(name, frozenset({*SCOPES, *drawn.choice(((), ("break-glass",)))})))
        if drawn.random() < 0.5:
            limits = frozenset(drawn.sample(NAMES, drawn.randint(1, 3))) if drawn.random() < 0.6 else None
            scopes = frozenset(drawn.sample((*SCOPES, "break-glass"), drawn.randint(1, 4)))
            _add_token(conn, world, ids, Token(name, scopes, limits))


def _add_namespaces(conn, world, drawn, ids):
    """Make the namespaces, and a role of one's own for all and one of a namespace."""
    spaces: dict[str | None, int | None] = {None: None}
    for name in NAMES:
        spaces[name] = _add_namespace(conn, world, name, drawn.choice(VISIBILITIES), ids[drawn.choice(PEOPLE)])
    for name in OWN[:2]:
        at = None if name == "releaser" else drawn.choice(NAMES)
        rights = {"read", "promote", "approve"} if name == "releaser" else {"read", "push", "maintain"}
        roles.add_role(conn, name, namespace_id=spaces[at], rights="+".join(sorted(rights)), created_by=None)
        world.model.roles[name, at] = rights
    return spaces


def _give(conn, world, drawn, ids, spaces):
    wanted: list[tuple[str, str, str | None, str]] = [(who, "admin", None, "") for who in ADMINS]
    wanted += [(drawn.choice((*PEOPLE, *PEOPLE, *GROUPS)), "owner", name, "") for name in NAMES for _ in range(2)]
    while len(wanted) < 200:
        at = drawn.choice((None, *NAMES, *NAMES))
        grant = (drawn.choice((*PEOPLE, *PEOPLE, *BOTS, *GROUPS)), drawn.choice(ROLES), at, drawn.choice(PATTERNS))
        is_rare = at is None and drawn.random() < 0.7  # few reach everything
        if world.model.is_role_of(*grant[1:]) and not is_rare and grant[1] != "admin":
            wanted.append(grant)
    for who, role, at, pattern in sorted(set(wanted), key=str):
        own = None if role in BUILT_IN else roles.find_role(conn, role, spaces[at])
        place = {"namespace_id": spaces[at], "pattern": pattern, "role_id": None if own is None else own.id}
        grants.add_grant(conn, ids[who], role=role, created_by=None, **place)
        world.model.held.add((who, role, at, pattern))


def _add_trust(conn, world, ids, spaces, account, namespace):
    """Let an admin have made a trust for a script that maintains a namespace."""
    grants.add_grant(conn, ids[account], role="maintainer", namespace_id=spaces[namespace], created_by=None)
    world.model.held.add((account, "maintainer", namespace, ""))
    made = Trust(0, namespace, account, ADMINS[0], ["read", "push", "promote"])
    made.number = trusts.add_trust(
        conn,
        namespace_id=spaces[namespace],
        principal_id=ids[account],
        provider="github",
        issuer=world.issuer.url,
        audience=AUDIENCE,
        conditions={"repository_id": "74", "repository_owner_id": "65"},
        scopes=["read", "push", "promote"],
        note="",
        created_by=ids[made.maker],
    )
    world.model.trusts.append(made)


def _add_namespace(conn, world, name, visibility, maker):
    """Make a namespace with two lines, each with a version, channels and a request that is over."""
    number = deltas.add_namespace(conn, name, created_by=maker).id
    namespaces.set_visibility(conn, number, visibility)
    (world.model.private if visibility == "private" else world.model.seen_by_all).add(name)
    world.model.with_lines.add(name)
    for line in LINES:
        deltas.add_delta(conn, number, line, created_by=maker)
        delta = present(deltas.delta_row(conn, name, line)).id
        version = rows.add_version(conn, delta, created_by=maker)
        digest = conn.execute(sa.select(t.versions.c.manifest_digest).where(t.versions.c.id == version)).scalar_one()
        for channel in CHANNELS:
            place: dict[str, object] = {"delta_id": delta, "name": channel, "revision": 0, "policy": {}}
            at = conn.execute(sa.insert(t.channels).values(place).returning(t.channels.c.id)).scalar_one()
            asked = {"channel_id": at, "version_id": version, "digest": digest, "policy_digest": "sha256:p"}
            asked |= {"seen_revision": 0, "opener_id": maker, "reason": "better"}
            request = conn.execute(sa.insert(t.requests).values(asked).returning(t.requests.c.id)).scalar_one()
            over = sa.update(t.requests).where(t.requests.c.id == request)
            conn.execute(over.values(state="withdrawn", decided_by=maker, decided_at=1, decision=""))
            world.requests[f"{number}/{line}@{channel}"] = request
    world.model.numbers[name] = number
    return number


def _add_token(conn, world, ids, token):
    kind = _PAT[world.model.kinds[token.who]]
    token.secret = mint_secret(kind)
    assert kind in KINDS
    token.number = principals.add_token(
        conn,
        token_hash=hash_secret(token.secret),
        display=token.secret[:12],
        principal_id=ids[token.who],
        kind=kind,
        scopes=sorted(token.scopes),
        namespaces=None if token.limits is None else sorted(token.limits),
        note="",
        created_by=None,
        expires_in_us=None,
    )
    world.model.tokens.append(token)
