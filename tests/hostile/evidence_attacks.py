"""Evidence from outside: said by who may not, about what it is not, and taken back by others."""

import base64
import json
from hashlib import sha256

from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from deltareg.documents.evaluation import EVALUATION
from deltareg.signing.statement import PAYLOAD_TYPE
from tests.hostile.gate_attacks import asks
from tests.hostile.right_attacks import OWNERS, READERS, VAULT
from tests.hostile.table import attack, some
from tests.hostile.world import LINE
from tests.outside import TEST_RESULT, attest, key_of, measure
from tests.signed_deltas import private, public

V1, METRICS = f"/deltas/{LINE}/versions/1", '{"metrics": {"acc": 0.9}}'


def brings(me, raw, *, who="lab", to=V1):
    """Bring an attestation of somebody's; whether it is taken."""
    body = {"form": "attestation", "body": raw.decode(), "public": public(who).pem}
    return me.does("POST", f"{to}/referrers", body)


def reports(me, body=METRICS, *, to=V1):
    return me.does("POST", f"{to}/evaluations", {"body": body})


def manifest_of(world, number=1):
    return world.owner.show(f"{LINE}:v{number}").digest.removeprefix("sha256:")


def opens(world, me, channel, *tries, **terms):
    """Whether a channel that asks for some evidence takes v1 after some tries."""
    asks(world, channel, **terms)
    some(*[each() for each in tries])
    return me.move(world, channel=channel, version=1)


@attack("what others measured of the vault is read", but=READERS, best=("maintainer", "foreign"))
def _(world, me):
    digest = f"sha256:{sha256(METRICS.encode()).hexdigest()}"
    reports(world.me("owner"), to=f"{VAULT}/versions/1")
    return some(*[me.gets(f"{VAULT}/versions/1/{end}") for end in ("evidence", f"evaluations/{digest}")])


@attack("metrics are reported of what one may not push", but=OWNERS, best=("maintainer", "foreign", "limited"))
def _(_, me):
    return some(reports(me, to=f"{VAULT}/versions/1"), brings(me, measure("lab", ["a" * 64]), to=f"{VAULT}/versions/1"))


@attack("metrics are reported by who only reads", but=OWNERS | {"maintainer", "promoter", "pusher", "script"})
def _(_, me):
    return me.name in {"reader", "read-only", "approver", "worker"} and reports(me)


@attack("an evaluation of another is withdrawn", but=OWNERS, best=("maintainer", "pusher"))
def _(world, me):
    body = json.dumps({"metrics": {"acc": world.next()}})
    reports(world.me("owner"), body)
    digest = f"sha256:{sha256(body.encode()).hexdigest()}"
    return me.does("POST", f"{V1}/evaluations/{digest}:withdraw", {"reason": "because"})


@attack("a metric that nobody signed counts for a signer", best=("owner", "chief"))
def _(world, me):
    terms = [{"name": "acc", "at_least": 0.5, "from": key_of("lab")}]
    about = [manifest_of(world)]
    return opens(
        world,
        me,
        "measured",
        lambda: reports(me),
        lambda: brings(me, measure("eve", about, acc=0.9), who="eve"),
        lambda: brings(me, measure("eve", about, acc=0.9)),
        lambda: brings(me, attest("lab", about, predicate={"metrics": {"acc": 0.9}})),
        metrics=terms,
    )


@attack("a push is signed with a key of another", best=("owner", "chief"))
def _(world, me):
    """Eve signs and names the lab's key; the lab signed, of another version."""
    about, other = manifest_of(world), manifest_of(world, 2)
    return some(
        brings(me, attest("eve", [about])),
        brings(me, attest("lab", [other])),
        brings(me, attest("eve", [about]), who="bo"),
    )


@attack("evidence about another version opens a gate", best=("owner", "chief"))
def _(world, me):
    config = next(file for file in world.owner.show(f"{LINE}:v1").files if file.endswith(".json"))
    other = measure("lab", [manifest_of(world, 2)], acc=0.9)
    both = measure("lab", [manifest_of(world, 2), manifest_of(world, 1)], acc=0.9)
    nothing = measure("lab", [sha256(config.encode()).hexdigest()], acc=0.9)
    return opens(
        world,
        me,
        "bound",
        *[lambda raw=raw: brings(me, raw) for raw in (other, both, nothing)],
        metrics=[{"name": "acc", "at_least": 0.5, "from": key_of("lab")}],
    )


@attack("a number that is none opens a gate", best=("owner",))
def _(world, me):
    about = [manifest_of(world)]
    odd = ("NaN", "Infinity", "1e999", '"1"', "true", "[1]", "null")
    seven = attest("bo", about, kind=EVALUATION, predicate={"metrics": {"acc": 7}})
    signed = [_with(seven, value, signer="bo") for value in odd]
    return opens(
        world,
        me,
        "numbers",
        *[lambda raw=raw: brings(me, raw, who="bo") for raw in signed],
        metrics=[{"name": "acc", "at_least": 0.5, "from": key_of("bo")}],
    )


@attack("what failed later is opened by what passed before", best=("owner", "maintainer"))
def _(world, me):
    about = [manifest_of(world)]
    good, bad = (attest("ci", about, kind=TEST_RESULT, predicate={"result": r}) for r in ("PASSED", "FAILED"))
    respelled = json.dumps(json.loads(good), indent=1).encode()
    return opens(
        world,
        me,
        "replayed",
        *[lambda raw=raw: brings(me, raw, who="ci") for raw in (good, bad, good, respelled)],
        attestations=[{"type": TEST_RESULT, "from": key_of("ci")}],
    )


@attack("a version without a card is allowed by its labels", best=("owner",))
def _(world, me):
    labels = {"labels": {"license": "mit", "datasets": "a"}}
    return opens(world, me, "licensed", lambda: me.does("PATCH", V1, labels), licences=["mit"], datasets=["a"])


def _with(envelope, odd, *, signer):
    """Put another value into what was signed, and sign it again."""
    payload = base64.b64decode(json.loads(envelope)["payload"])
    assert b"7.0" in payload
    changed = Envelope(payload.replace(b"7.0", odd.encode()), PAYLOAD_TYPE, {})
    changed.sign(CryptoSigner(private(signer)))
    return json.dumps(changed.to_dict()).encode()
