"""Who may do what in a company of a hundred people, as docs/howto/members.md says it, in plain Python.

What is about groups, roles of one's own and patterns is in `tests/service/access_model.py`; this adds
tokens with their limits, service accounts, the disabled, namespaces that change their names, and what
lists show. No code of ours decides here.
"""

from dataclasses import dataclass, field

from tests.service.access_model import EVERYWHERE, Model, matches

LASTING, SHORT = "lasting", "short"


@dataclass(eq=False)
class Token:
    """What a request comes with: whose it is, what for, and where; a `life` that is short is not renewed."""

    who: str
    scopes: frozenset[str]
    limits: frozenset[str] | None = None
    secret: str = ""
    number: int = 0
    life: str = LASTING
    is_live: bool = True
    is_used: bool = False
    is_renewed: bool = False
    made_with: "Token | None" = None
    renews: "Token | None" = None
    trust: int | None = None

    def is_for(self, right):
        return right in self.scopes or ("admin" in self.scopes and right != "break-glass")

    def reaches(self, namespace):
        return self.limits is None or namespace in self.limits


@dataclass
class Trust:
    """Who made a trust, for whose tokens, and for what."""

    number: int
    namespace: str
    account: str
    maker: str
    scopes: list[str]
    is_live: bool = True

    def accepts(self, namespace, account, scopes):
        """Whether it gives tokens of an account for these scopes, in a namespace."""
        return (self.namespace, self.account, self.scopes) == (namespace, account, scopes)


@dataclass
class Company(Model):
    """The model of access, and who has which token.

    Attributes:
        seen_by_all: The namespaces that are not private; the others are in `private`.
        former: Former names of namespaces, and where they lead.
        kinds: `user` or `service`, of everybody who acts.
        owners: The person or the group whose a service account is.
        full: The namespaces whose quota leaves no room for anything.
        with_lines: The namespaces that have lines.
        numbers: By which number a namespace is known, whatever its name.
    """

    seen_by_all: set[str] = field(default_factory=set)
    former: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)
    full: set[str] = field(default_factory=set)
    with_lines: set[str] = field(default_factory=set)
    numbers: dict[str, int] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)
    trusts: list[Trust] = field(default_factory=list)

    @property
    def namespaces(self):
        return self.private | self.seen_by_all

    def is_live(self, token):
        return token.is_live and token.who not in self.disabled

    # What a token allows: what its scopes, its limits and its principal's roles all allow

    def may(self, by, right, place):
        if isinstance(by, str):
            return super().may(by, right, place)
        if not self.is_live(by) or not by.is_for(right):
            return False
        if by.limits is not None and (place is None or place.partition("/")[0] not in by.limits):
            return False
        return super().may(by.who, right, place)

    def roles_of(self, who, namespace):
        """List what somebody holds that reaches into a namespace: the rights of each role, and its pattern."""
        return [
            (self.rights(role, at), pattern)
            for holder, role, at, pattern in self.held
            if at in {EVERYWHERE, namespace} and (holder == who or who in self.members.get(holder, ()))
        ]

    def sees_namespace(self, by, namespace):
        """Whether there is a namespace for a token at all: it is not private, or gives any right there."""
        if not self.is_live(by) or namespace not in self.namespaces or not by.reaches(namespace):
            return False
        if by.is_for("read") and namespace not in self.private:
            return True
        return any(by.is_for(right) for rights, _ in self.roles_of(by.who, namespace) for right in rights)

    def sees_line(self, by, namespace, line):
        if not self.sees_namespace(by, namespace):
            return False
        if by.is_for("read") and namespace not in self.private:
            return True
        return any(
            by.is_for(right) and (not pattern or matches(line, pattern.partition("@")[0]))
            for rights, pattern in self.roles_of(by.who, namespace)
            for right in rights
        )

    def reads_anything(self, by):
        """Whether a token reads at all, which is what common lists ask for."""
        if not self.is_live(by) or not by.is_for("read"):
            return False
        if by.limits is None:
            return True  # what is not private
        return any(name not in self.private or self.roles_of(by.who, name) for name in by.limits)

    def lists_namespace(self, by, namespace):
        readable = by.reaches(namespace) and by.is_for("read")
        return readable and (namespace not in self.private or bool(self.roles_of(by.who, namespace)))

    def sees(self, by, group):
        return by.who in self.members[group] or self.manages(by, group)

    # What changes that

    def take(self, by, grant):
        who, role, at, _ = grant
        rights = self.rights(role, at)
        if not self.reads_anything(by):
            return False
        if who != by.who and not (self.is_admin(by) if at is None else self.sees_namespace(by, at)):
            return False
        is_usable = all(by.is_for(right) for right in rights) and (by.limits is None or at in by.limits)
        if not (who == by.who and is_usable) and not self.may_give(by, rights, at):
            return False
        return self.keeping(lambda: self.held.discard(grant), [grant])

    def give(self, by, who, role, at, pattern):
        known = who in self.kinds or who in self.members
        return known and super().give(by, who, role, at, pattern)

    def keepers(self, place):
        return super().keepers(place) - self.disabled

    def show(self, by, namespace, visibility):
        if not self.may(by, "admin", namespace):
            return False
        (self.private if visibility == "private" else self.seen_by_all).add(namespace)
        (self.seen_by_all if visibility == "private" else self.private).discard(namespace)
        return True

    def found(self, by, name, visibility):
        """Make a namespace: the owner of a script owns what it makes, and the script pushes into it."""
        is_allowed = self.is_live(by) and by.is_for("push") and by.reaches(name)
        if not is_allowed or name in self.namespaces or name in self.former:
            return False
        owner = self.owners.get(by.who, by.who)
        self.held.add((owner, "owner", name, ""))
        if owner != by.who:
            self.held.add((by.who, "pusher", name, ""))
        (self.private if visibility == "private" else self.seen_by_all).add(name)
        return True

    def rename(self, by, name, to):
        """All that is in a namespace stays in it, roles and limits of tokens too."""
        is_own = self.former.get(to) == name
        if not self.may(by, "admin", name) or not (by.is_for("push") and by.reaches(to)):
            return False
        if to == name:
            return True
        if to in self.namespaces or (to in self.former and not is_own):
            return False
        self.take_along(name, to)
        return True

    def take_along(self, name, to):
        """Let all that is in a namespace be in it by its new name."""
        self.former = {old: to if now == name else now for old, now in self.former.items() if old != to}
        self.former[name] = to
        if name in self.numbers:
            self.numbers[to] = self.numbers.pop(name)
        for names in (self.private, self.seen_by_all, self.full, self.with_lines):
            if name in names:
                names.discard(name)
                names.add(to)
        self.held = {(who, role, to if at == name else at, pattern) for who, role, at, pattern in self.held}
        self.roles = {(role, to if at == name else at): rights for (role, at), rights in self.roles.items()}
        for token in self.tokens:
            if token.limits and name in token.limits:
                token.limits = token.limits - {name} | {to}
        for trust in self.trusts:
            trust.namespace = to if trust.namespace == name else trust.namespace

    def disable(self, by, who):
        if not self.is_admin(by):
            return False
        before = self.keepers(EVERYWHERE_ADMIN)
        if who in self.disabled:
            return True
        if before and not before - {who}:
            return False
        self.disabled.add(who)
        self.end([token for token in self.tokens if token.who == who])
        return True

    def enable(self, by, who):
        if self.is_admin(by):
            self.disabled.discard(who)
            return True
        return False

    def hand_over(self, by, account, to):
        if not self.is_admin(by) or to in self.disabled or self.kinds.get(to) == "service":
            return False
        if self.owners[account] != to:
            self.owners[account] = to
            self.end([token for token in self.tokens if token.who == account])
        return True

    @staticmethod
    def end(tokens):
        for token in tokens:
            token.is_live = False

    def fill(self, by, namespace, is_full):
        if not self.is_admin(by):
            return False
        (self.full.add if is_full else self.full.discard)(namespace)
        return True


EVERYWHERE_ADMIN = ("admin", EVERYWHERE)
