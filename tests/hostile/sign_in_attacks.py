"""Sign-in: what a provider, a CI or a proxy says opens what it is about, once, and for nobody else."""

from datetime import datetime
from urllib.parse import urlencode

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access import identities, sign_ins
from deltareg.db.session import write
from deltareg.service.access.sign_in.devices import hash_code
from deltareg.service.access.tokens import hash_secret, mint_secret
from tests.exchange.issuer import documented, rsa_key
from tests.hostile.people_attacks import ADMINS, OWNERS, does, token
from tests.hostile.table import attack, some
from tests.hostile.world import BAD_TOKENS
from tests.sign_in.hostile_provider import OTHER_KEY

AUDIENCE = "https://registry.example"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
GRANT, ID_TOKEN = "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:token-type:id_token"
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


def trust(world, me, **more):
    """Ask for a trust in a workflow of octo-org/octo-repo."""
    asked = {
        "provider": "github",
        "issuer": world.ci.url,
        "audience": AUDIENCE,
        "namespace": "team",
        "scopes": ["push"],
        "source_id": "74",
        "owner_id": "65",
        "ref": "main",
        **more,
    }
    return me.ask("POST", "/trusts", asked)


def trusted(world):
    """Give the number of a trust of the owner's in the branch `main`, made once in a world."""
    if "trusted" not in world.__dict__:
        made = trust(world, world.me("owner"), environment="prod")
        assert made.is_success, made.text
        world.__dict__["trusted"] = made.json()["id"]
    return world.__dict__["trusted"]


def exchange(me, assertion, **more):
    """Ask for a token for an assertion; give it, or nothing."""
    form = {"grant_type": GRANT, "subject_token_type": ID_TOKEN, "subject_token": assertion, **more}
    answer = me.http.post("/tokens:exchange", content=urlencode(form), headers=FORM)
    return answer.json().get("access_token") if answer.is_success else None


@attack("a trust speaks for an account of another", but=ADMINS, best=("owner", "maintainer", "pusher"))
def _(world, me):
    """For a person, a worker, a group, a colleague's script; nor for one in a namespace of others."""
    made = [trust(world, me, principal=name).is_success for name in ("chief", "reader", "worker", "script")]
    elsewhere = me.name != "foreign" and trust(world, me, namespace="other").is_success
    return some(*made, elsewhere, me.name not in OWNERS and trust(world, me).is_success)


@attack("a trust gives what no workflow may have", best=("chief", "owner"))
def _(world, me):
    wide = (["approve"], ["verify"], ["admin"], ["break-glass"], ["push", "approve"])
    return some(*[trust(world, me, scopes=each).is_success for each in wide])


@attack("a token of a workflow makes, renews or trusts", best=("anonymous",))
def _(world, me):
    secret = exchange(me, world.ci.sign(documented("github", aud=AUDIENCE)), trust=trusted(world))
    assert secret is not None
    http = world.server.http(secret)
    name = http.get("/whoami").json()["principal"]
    asked = {"principal": name, "kind": "ci", "scopes": ["read"], "expires_in_s": 86_400}
    made = http.post("/tokens", json=asked).json().get("expires_at")
    lasting = made is not None and _seconds(made) - _seconds(http.get("/whoami").json()["expires_at"]) > 1
    wanted = {"provider": "github", "issuer": world.ci.url, "audience": AUDIENCE, "namespace": "team",
              "scopes": ["push"], "source_id": "74", "owner_id": "65"}  # fmt: skip
    return some(
        lasting,
        http.post("/tokens:renew", json={}).is_success,
        http.post("/trusts", json=wanted).is_success,
        http.get("/trusts", params={"namespace": "team"}).is_success,
        http.post("/members", json={"namespace": "team", "principal": name, "role": "owner"}).is_success,
        http.get("/deltas/vault/secret/versions/1").is_success,
    )


def _seconds(at):
    return datetime.fromisoformat(at).timestamp()


@attack("a workflow of a fork, or of another branch, gets a token", best=("anonymous",))
def _(world, me):
    number, branch = trusted(world), "refs/heads/main"
    pull = {"ref": "refs/pull/7/merge", "event_name": "pull_request", "base_ref": "main"}
    wrong = (
        {"repository_id": "99"},
        {"repository_owner_id": "99"},
        {"ref": "refs/heads/main-2"},
        {"ref": "refs/tags/main"},
        {"ref": "refs/heads/feature/main"},
        {"environment": "staging"},
        {"environment": None},
        {"aud": "https://elsewhere.example"},
        {"iss": "https://token.actions.githubusercontent.com"},
        {"repository_id": 74.5, "sub": f"repo:octo-org/octo-repo:ref:{branch}"},
        {"exp": 1},
        pull,
        {**pull, "head_ref": "main", "ref": "refs/pull/main/merge"},
    )
    signed = [world.ci.sign(documented("github", **{"aud": AUDIENCE, **each})) for each in wrong]
    forged = [
        world.ci.sign(documented("github", aud=AUDIENCE), key=rsa_key(1)),
        world.ci.sign(documented("github", aud=AUDIENCE), header={"alg": "none"}),
        world.ci.sign(documented("github", aud=AUDIENCE), header={"jku": world.provider.issuer}),
    ]
    return some(*[exchange(me, each, trust=number) for each in (*signed, *forged)])


@attack("an assertion gets a second token", best=("anonymous",))
def _(world, me):
    number, said = trusted(world), world.ci.sign(documented("github", aud=AUDIENCE))
    assert exchange(me, said, trust=number)
    return some(
        exchange(me, said, trust=number), exchange(me, said), exchange(me, f"{said}="), exchange(me, f" {said}")
    )


def signed_in(world, sid):
    """Let the owner be signed in at the provider, in a session of it; gives their token."""
    secret = token(world.me("owner"), principal="owner", expires_in_s=3_600)
    with write(world.engine) as conn:
        row = conn.execute(sa.select(t.tokens.c.id).where(t.tokens.c.token_hash == hash_secret(secret))).scalar_one()
        who = identities.add_identity(
            conn, issuer=world.provider.issuer, subject=sid, principal_id=world.ids["owner"], email=""
        )
        sign_ins.add_sign_in(
            conn, identity_id=who, token_id=row, provider="acme", sid=sid, refresh=None, machine="box", for_us=10**10
        )
    return secret


@attack("a sign-in is ended by a word about another", best=("anonymous",))
def _(world, me):
    """By a logout token of another session, another key, another audience, by an ID token, and by one that is old."""
    number, made = world.next(), world.provider
    sid = f"session-{number}"
    secret = signed_in(world, sid)
    events: dict[str, dict] = {LOGOUT: {}}
    claims = {"sid": sid, "jti": f"j{number}", "events": events, "nonce": None, "sub": sid}
    mine = {**claims, "sid": f"other-{number}", "sub": f"other-{number}", "jti": f"k{number}"}
    words = [
        made.sign(made.claims(**mine)),
        made.sign(made.claims(**claims), key=OTHER_KEY),
        made.sign(made.claims(**claims, aud="somebody")),
        made.sign(made.claims(**claims, iss="http://elsewhere")),
        made.sign(made.claims(**{**claims, "events": {}})),
        made.sign(made.claims(**{**claims, "nonce": "n"})),
        made.sign(made.claims(**{**claims, "sid": None, "sub": None})),
        made.sign(made.claims(**claims, iat=-10_000, exp=-5_000)),
        made.sign(made.claims(**{**claims, "sid": "%", "sub": None})),
    ]
    for each in words:
        me.http.post(f"{world.server.url}/ui/sign-in/acme/logout", data={"logout_token": each})
    was_ended = not does(world, secret, "GET", "/whoami")
    right = made.sign(made.claims(**{**claims, "jti": f"l{number}"}))
    me.http.post(f"{world.server.url}/ui/sign-in/acme/logout", data={"logout_token": right})
    assert not does(world, secret, "GET", "/whoami"), "the right word ends it"
    return was_ended


@attack("an identity is linked to an admin", but=ADMINS, best=("owner", "maintainer"))
def _(world, me):
    number = world.next()
    with write(world.engine) as conn:
        who = identities.add_identity(
            conn, issuer=world.provider.issuer, subject=f"me-{number}", principal_id=world.ids["stranger"], email=""
        )
    return some(me.gets("/identities"), me.does("POST", f"/identities/{who}:link", {"principal": "chief"}))


@attack("the token of a machine that waits is fetched by its code", best=("anonymous", "foreign"))
def _(world, me):
    """By the code that its person sees, by its hash, or by any other word; after a sign-in."""
    waits = world.server.http().post("/sign-in/devices", json={"machine": "laptop"}).json()
    secret = token(world.me("owner"), principal="owner", expires_in_s=3_600)
    own = t.tokens.c.token_hash == hash_secret(secret)
    granted = sa.select(t.tokens.c.id).where(own).scalar_subquery()
    waiting = t.device_requests.c.code_hash == hash_code(waits["code"])
    with write(world.engine) as conn:
        conn.execute(sa.update(t.device_requests).where(waiting).values(token_id=granted))
    code = waits["code"]
    words = (code, code.replace("-", ""), hash_code(code), hash_secret(waits["secret"]), "%", "", waits["secret"][:-1])
    tried = [me.ask("POST", "/sign-in/devices:fetch", {"secret": each}) for each in words]
    stolen = [each.is_success and bool(each.json().get("token")) for each in tried]
    given = world.server.http().post("/sign-in/devices:fetch", json={"secret": waits["secret"]})
    assert some(*stolen) or given.json().get("token"), "whoever waits has it"
    return some(*stolen)


def address(world):
    """Give an address that nobody has used."""
    return f"2001:db8:{world.next():x}::1"


@attack("an address is made up to send more bad tokens", best=("anonymous",))
def _(world, me):
    """One proxy is in front, which appends the address that it was called from: here the last entry."""
    if me.name != "anonymous":
        return False
    true = address(world)
    made_up = (f"198.51.100.{number}, {address(world)}, {true}" for number in range(BAD_TOKENS + 4))
    return 429 not in [_knocks(world, each) for each in made_up]


@attack("the limit of others is used up by their address", best=("anonymous",))
def _(world, me):
    """Whoever shares an address with one that sends bad tokens works on, and so does one that is only named."""
    if me.name != "anonymous":
        return False
    shared, named = address(world), address(world)
    sent = [_knocks(world, f"{named}, {shared}") for _ in range(BAD_TOKENS + 4)]
    assert 429 in sent
    return some(_knocks(world, shared, world.tokens["reader"]) == 429, _knocks(world, named) == 429)


def _knocks(world, forwarded, secret=None):
    """Send a token, a bad one unless it is given, by the proxy; gives the status."""
    headers = {"Authorization": f"Bearer {secret or mint_secret('pat')}", "X-Forwarded-For": forwarded}
    return world.strict.get("/whoami", headers=headers).status_code


@attack("machines that wait elsewhere keep one from signing in", best=("anonymous",))
def _(world, me):
    """Behind a proxy each address has its own number of them, whatever it says of itself."""
    if me.name != "anonymous":
        return False
    mine, theirs = address(world), address(world)

    def waits(forwarded):
        headers = {"X-Forwarded-For": forwarded}
        return world.strict.post("/sign-in/devices", json={"machine": "x"}, headers=headers).status_code

    sent = [waits(f"{mine}, {theirs}") for _ in range(22)]
    return 503 not in sent or waits(f"{theirs}, {mine}") != 201
