"""Names: who renames, moves, frees or deletes what is others', or learns by a former name what there is."""

from deltareg.errors import DeltaregError
from tests.hostile.table import attack
from tests.hostile.world import DELTAS, LINE, SECRET

CHIEFS = {"chief"}
OWNERS = CHIEFS | {"owner"}
NEAREST = ("maintainer", "foreign", "limited", "read-only")


def gets_there(action):
    try:
        action()
    except DeltaregError:
        return False
    return True


def is_done(answer):
    return answer.status_code < 300


def own_line(world):
    """Return a line of the team's that only this attack knows."""
    line = f"team/n{world.next()}"
    world.owner.push(DELTAS / "lora", line, base="tinyllama", golden=False)
    return line


def moved_to_vault(world):
    """Return a name in the team's namespace that leads into the vault, once for all."""
    known = world.__dict__.setdefault("moved", [])
    if not known:
        line = own_line(world)
        world.chief.lines.rename(line, f"vault/m{world.next()}")
        known.append(line)
    return known[0]


@attack("a line gets another name from who does not own it", but=OWNERS, best=NEAREST)
def _(world, me):
    line = own_line(world)
    return is_done(me.ask("POST", f"/deltas/{line}:rename", {"to": f"{line}x"}))


@attack("a line is taken into one's own namespace", but=OWNERS, best=NEAREST)
def _(world, me):
    line = own_line(world)
    return is_done(me.ask("POST", f"/deltas/{line}:rename", {"to": f"other/x{world.next()}"}))


@attack("a line of the vault is taken out of it", but=OWNERS, best=NEAREST)
def _(world, me):
    return is_done(me.ask("POST", f"/deltas/{SECRET}:rename", {"to": f"other/x{world.next()}"}))


@attack("a channel gets another name from who may only promote to it", but=OWNERS, best=("promoter", "maintainer"))
def _(world, me):
    line = own_line(world)
    return is_done(me.ask("POST", f"/deltas/{line}/channels/dev:rename", {"to": "x"}))


@attack("a namespace gets another name from who does not own it", but=OWNERS, best=NEAREST)
def _(world, me):
    return is_done(me.ask("POST", "/namespaces/vault:rename", {"to": f"y{world.next()}"}))


@attack("a former name is let go, and taken, by who does not own its namespace", but=OWNERS, best=NEAREST)
def _(world, me):
    line = own_line(world)
    world.chief.lines.rename(line, f"{line}x")
    return is_done(me.ask("DELETE", f"/deltas/{line}/name"))


@attack("a line is deleted by who does not own it", but=OWNERS, best=NEAREST)
def _(world, me):
    return is_done(me.ask("DELETE", f"/deltas/{own_line(world)}"))


@attack("a former name leads into the vault", but=OWNERS | {"worker", "read-only"}, best=("maintainer", "reader"))
def _(world, me):
    line = moved_to_vault(world)
    paths = (f"/deltas/{line}/versions", f"/deltas/{line}/log", f"/resolve?ref={line}:v1", f"/deltas/{line}/channels")
    found = [me.ask("GET", path) for path in paths]
    never = [me.ask("GET", path.replace(line, f"team/never{world.next()}")) for path in paths[:1]]
    is_told = any("vault" in answer.text for answer in found)
    return is_told or any(is_done(answer) for answer in found) or found[0].status_code != never[0].status_code


@attack(
    "a former name that leads into the vault is taken by a push", but=CHIEFS, best=("maintainer", "pusher", "owner")
)
def _(world, me):
    line = moved_to_vault(world)
    if not gets_there(lambda: me.client.push(DELTAS / "lora_v2", line, base="tinyllama", golden=False)):
        return False
    return world.chief.show(line).namespace == "team"


@attack(
    "a digest alone tells of a version in the vault",
    but=OWNERS | {"worker", "read-only"},
    best=("maintainer", "foreign"),
)
def _(world, me):
    digest = world.owner.show(f"{SECRET}:v1").digest
    answers = [me.ask("GET", f"/resolve?ref={text}") for text in (digest, digest[:19])]
    return any(SECRET in answer.text for answer in answers)


@attack(
    "a semver is given by who may not push",
    but=OWNERS | {"maintainer", "pusher", "script"},
    best=("promoter", "reader"),
)
def _(world, me):
    return is_done(me.ask("PATCH", f"/deltas/{LINE}/versions/1", {"semver": f"9.9.{world.next()}"}))
