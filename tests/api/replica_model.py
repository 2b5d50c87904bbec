"""What any server has to answer after a history of changes, in plain Python: no code of ours decides here."""

from dataclasses import dataclass, field

ADMIN = "root"
LIMITED = "robot"
"""Its tokens are limited to the namespace: where that is hidden from it, they allow nothing at all."""


@dataclass
class Version:
    """A version of the line: what never changes of it, and what does."""

    digest: str
    has_golden: bool
    revoked: str = ""
    is_deleted: bool = False
    deprecated: str = ""
    verdict: str | None = None
    golden: str = ""


@dataclass
class Channel:
    """A channel: its names, the version of each revision from the first on, the newest one's kind and reason."""

    name: str
    names: set[str]
    versions: list[int] = field(default_factory=list)
    kind: str | None = None
    reason: str = ""
    is_deleted: bool = False

    @property
    def is_frozen(self):
        return self.kind == "freeze"

    def move(self, kind, version, reason):
        """Append a revision; what goes past a freeze is followed by that freeze once more."""
        if self.is_frozen and kind in {"promote", "rollback"}:
            self.versions += [version, version]
            self.reason = f"still, after #{len(self.versions) - 1}: {self.reason}"
            return
        self.versions.append(version)
        self.kind, self.reason = kind, reason

    @property
    def serves(self):
        return self.versions[-1] if self.versions else None


@dataclass(eq=False)
class Token:
    """A token, and the one that it took the place of."""

    who: str
    secret: str
    id: int
    renews: "Token | None" = None
    is_live: bool = True

    @property
    def first(self):
        return self if self.renews is None else self.renews.first


@dataclass
class Model:
    """One line in one namespace, who may see it, and the names that all of it has and had."""

    namespace: str
    line: str
    versions: dict[int, Version]
    channels: list[Channel]
    namespaces: set[str]
    lines: set[str]
    visibility: str = "internal"
    deprecated: str = ""
    members: dict[str, int] = field(default_factory=dict)
    group: set[str] = field(default_factory=set)
    disabled: set[str] = field(default_factory=set)
    owner: str = ADMIN
    tokens: list[Token] = field(default_factory=list)

    @property
    def path(self):
        return f"{self.namespace}/{self.line}"

    # Who sees what

    def sees(self, who):
        """Whether somebody sees the namespace; None is whoever has no token."""
        if who is None:
            return self.visibility == "public"
        is_member = who in self.members or ("readers" in self.members and who in self.group)
        return who == ADMIN or is_member or self.visibility != "private"

    def end_token(self, token):
        """End a token, what it took the place of, and what took its place."""
        for each in self.tokens:
            each.is_live = each.is_live and each.first is not token.first

    def tokens_of(self, who):
        return [one for one in self.tokens if one.who == who]

    def end_tokens(self, who):
        for each in self.tokens:
            each.is_live = each.is_live and each.who != who

    # What is asked: a status, and the facts that the answer holds where there are any

    def answer(self, question, token):
        """Say how a question is answered to the bearer of a token; None is whoever has no token."""
        who = None if token is None else token.who
        what, (namespace, line), *rest = question
        if token is not None and not token.is_live:
            return 401, None
        is_known = namespace in self.namespaces and line in self.lines
        if who is None and (what == "page" or (self.sees(None) and namespace not in self.namespaces)):
            return 404 if what in {"refs", "file"} else 401, None
        if not self.sees(who):
            is_of_hub = what in {"refs", "file"}
            return 404 if is_of_hub else {None: 401, LIMITED: 403}.get(who, 404), None
        found = getattr(self, what)(who, *rest) if is_known else None
        return (404, None) if found is None else (200, found)

    def resolve(self, _who, at, is_slim):
        number = self.meant(at)
        return None if number is None else self.told(number, is_slim=is_slim)

    def show(self, _who, number):
        return self.told(number, is_slim=False)

    def manifest(self, _who, number):
        return self.versions[number].digest

    def listed(self, _who):
        return [self.told(number, is_slim=True) for number in self.standing()]

    def channel(self, _who, name):
        one = self.channel_named(name)
        if one is None:
            return None
        served = one.serves
        return {
            "channel": one.name,
            "revision": len(one.versions),
            "ref": None if served is None else f"{self.path}:v{served}",
            "is_revoked": served is not None and bool(self.versions[served].revoked),
            "kind": one.kind,
            "reason": one.reason,
            "is_frozen": one.is_frozen,
        }

    def page(self, _who):
        return True

    def refs(self, who):
        branches = {one.name: self.commit(one.serves) for one in self.channels if one.serves and not one.is_deleted}
        main = self.main(who)
        return {
            "branches": branches | ({} if main is None else {"main": self.commit(main)}),
            "tags": {f"v{number}": self.commit(number) for number in self.standing()},
        }

    def file(self, who, revision):
        at = f":{revision}" if revision[1:].isdigit() else f"@{revision}"
        number = self.main(who) if revision == "main" else self.meant(at)
        if number is None or self.versions[number].is_deleted:
            return None
        return self.commit(number), bool(self.versions[number].revoked)

    # What these rest on

    def standing(self):
        return [number for number in sorted(self.versions, reverse=True) if not self.versions[number].is_deleted]

    def main(self, who):
        return self.meant("") if who == ADMIN else self.meant("@prod")

    def meant(self, at):
        """Give the version that `:v2`, `@prod`, `@prod#1` or nothing means."""
        if not at:
            return next(iter(self.standing()), None)
        if at.startswith(":v"):
            return int(at[2:])
        name, _, revision = at[1:].partition("#")
        one = self.channel_named(name)
        if one is None or not one.versions:
            return None
        if not revision:
            return one.serves
        return one.versions[int(revision) - 1] if int(revision) <= len(one.versions) else None

    def channel_named(self, name):
        return next((one for one in self.channels if name in one.names and not one.is_deleted), None)

    def commit(self, number):
        return self.versions[number].digest.removeprefix("sha256:")[:40]

    def told(self, number, *, is_slim):
        one = self.versions[number]
        golden = {} if is_slim else {"golden": (one.golden or "recorded; a verification says how") * one.has_golden}
        return golden | {
            "ref": f"{self.path}:v{number}",
            "digest": one.digest,
            "revoked": one.revoked,
            "is_deleted": one.is_deleted,
            "verdict": one.verdict,
            "deprecated": one.deprecated or self.deprecated,
            "channels": sorted(c.name for c in self.channels if c.serves == number and not c.is_deleted),
        }
