"""Who may do what, as docs/howto/members.md says it, in plain Python: no code of ours decides here."""

from dataclasses import dataclass, field

EVERYWHERE = None
TEAM = {"read", "push", "promote", "approve", "serve", "maintain"}
BUILT_IN = {
    "reader": {"read"},
    "pusher": {"read", "push"},
    "promoter": {"read", "promote"},
    "approver": {"read", "approve"},
    "server": {"read", "serve"},
    "break-glass": {"read", "break-glass"},
    "maintainer": TEAM,
    "owner": TEAM | {"verify", "admin"},
    "verifier": {"read", "verify"},
    "admin": TEAM | {"verify", "admin"},
}
OF_CHANNELS = {"promoter", "approver", "server", "break-glass"}
OF_LINES = OF_CHANNELS | {"reader", "pusher", "maintainer"}
ABOUT_CHANNELS = {"read", "promote", "approve", "serve", "break-glass"}
KEEPERS = {"admin": EVERYWHERE, "owner": "in a namespace"}


@dataclass
class Model:
    """An organisation: people, groups, roles of one's own, and who holds what.

    A place is None for everything, a namespace, a line `ns/name`, or a channel `ns/name@channel`.
    """

    private: set[str]
    members: dict[str, set[str]] = field(default_factory=dict)
    roles: dict[tuple[str, str | None], set[str]] = field(default_factory=dict)
    held: set[tuple[str, str, str | None, str]] = field(default_factory=set)

    # What anybody may do

    def may(self, who, right, place):
        namespace = None if place is None else place.partition("/")[0]
        if right == "read" and place is not None and namespace not in self.private:
            return True
        return any(
            self.gives(role, right, at) and covers(at, pattern, right, place)
            for holder, role, at, pattern in self.held
            if holder == who or who in self.members.get(holder, ())
        )

    def gives(self, role, right, at):
        rights = self.rights(role, at)
        return right in rights or ("admin" in rights and right != "break-glass")

    def rights(self, role, at):
        return BUILT_IN.get(role) or self.roles.get((role, at)) or self.roles.get((role, None)) or set()

    # What changes that; each answers whether it is allowed, and does it then

    def give(self, by, who, role, at, pattern):
        if not self.is_role_of(role, at, pattern):
            return False
        if not (self.may_give(by, self.rights(role, at), at) and (who not in self.members or self.sees(by, who))):
            return False
        self.held.add((who, role, at, pattern))
        return True

    def take(self, by, grant):
        who, role, at, _ = grant
        if who != by and not self.may_give(by, self.rights(role, at), at):
            return False
        return self.keeping(lambda: self.held.discard(grant), [grant])

    def join(self, by, group, who):
        if not self.is_admin(by) or not all(self.may_give(by, self.rights(r, at), at) for r, at in self.of(group)):
            return False
        self.members[group].add(who)
        return True

    def leave(self, by, group, who):
        if not self.is_admin(by) or who not in self.members[group]:
            return False
        return self.keeping(lambda: self.members[group].discard(who), [g for g in self.held if g[0] == group])

    def define(self, by, role, at, rights):
        rights = {"read", *rights}
        others = [place for name, place in self.roles if name == role and place != at]
        if not self.may(by, "admin", at) or not all(self.may(by, right, at) for right in rights):
            return False
        if (role, at) not in self.roles and (None in others or (at is None and others)):
            return False
        if not rights <= ABOUT_CHANNELS and any("@" in g[3] for g in self.of_role(role, at)):
            return False
        self.roles[role, at] = rights
        return True

    def undefine(self, by, role, at):
        if not self.may(by, "admin", at) or (role, at) not in self.roles:
            return False
        self.held -= self.of_role(role, at)
        del self.roles[role, at]
        return True

    # What these rest on

    def is_admin(self, who):
        return self.may(who, "admin", EVERYWHERE)

    def may_give(self, by, rights, at):
        manages = self.is_admin(by) if at is None else self.may(by, "maintain", at)
        return manages and all(self.may(by, right, at) for right in rights)

    def sees(self, who, group):
        return who in self.members[group] or self.manages(who, group)

    def manages(self, who, group):
        return self.is_admin(who) or any(at is not None and self.may(who, "maintain", at) for _, at in self.of(group))

    def of(self, holder):
        return [(role, at) for each, role, at, _ in self.held if each == holder]

    def of_role(self, role, at):
        return (
            {g for g in self.held if g[1] == role and (at is None or g[2] == at)} if (role, at) in self.roles else set()
        )

    def is_role_of(self, role, at, pattern):
        if role in BUILT_IN:
            if role in ({"owner", "maintainer"} if at is None else {"admin", "verifier"}):
                return False
            return not pattern or (at is not None and role in (OF_CHANNELS if "@" in pattern else OF_LINES))
        rights = self.rights(role, at)
        if not rights or (at is None and ("maintain" in rights or pattern)):
            return False
        return "@" not in pattern or rights <= ABOUT_CHANNELS

    def keeping(self, change, grants):
        """Make a change unless it leaves nobody who owns a namespace, or is admin."""
        places = {(g[1], g[2]) for g in grants if g[1] == ("admin" if g[2] is None else "owner")}
        before = {place for place in places if self.keepers(place)}
        state = set(self.held), {name: set(people) for name, people in self.members.items()}
        change()
        if all(self.keepers(place) for place in before):
            return True
        self.held, self.members = state
        return False

    def keepers(self, place):
        holders = {g[0] for g in self.held if (g[1], g[2]) == place}
        return {who for holder in holders for who in self.members.get(holder, {holder})}


def covers(at, pattern, right, place):
    """Whether a role given in a namespace, on a pattern of it, is about a place."""
    if at is None:
        return True
    if place is None or place.partition("/")[0] != at:
        return False
    line, _, channel = place.partition("/")[2].partition("@")
    if not pattern:
        return True
    lines, is_of_channels, channels = pattern.partition("@")
    if not line or not matches(line, lines):
        return False
    if not is_of_channels:
        return True
    return matches(channel, channels) if channel else right == "read"


def matches(name, pattern):
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
