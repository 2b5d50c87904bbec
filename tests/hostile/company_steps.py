"""What people of the company try, one step after another: each on the registry and on the model.

A step is its kind and six numbers; what they choose depends on what there is when it is tried. So a
history without some of its steps is one too, and what fails can be made short.
"""

from tests.hostile.company import Token
from tests.hostile.company_world import (
    ADMINS,
    BOTS,
    GIVEN,
    GROUPS,
    NAMES,
    OWN,
    PATTERNS,
    PEOPLE,
    ROLES,
    SCOPES,
    SPARE,
    VISIBILITIES,
)

WEEK_S = 604_800


class Difference(AssertionError):
    """The registry does not do what the docs say."""


class Steps:
    """Tries steps; each method is a kind of step, whose numbers it takes in order."""

    def __init__(self, world):
        self.world, self.model = world, world.model
        self.tried: dict[tuple[str, bool], int] = {}

    def try_step(self, kind, numbers):
        """Try a step.

        Raises:
            Difference: The registry and the model do not agree.
        """
        self.numbers, self.kind = list(numbers), kind
        getattr(self, kind)()

    # Choosing

    def pick(self, among):
        chosen = list(among)
        return chosen[self.numbers.pop(0) % len(chosen)]

    def chance(self, one_in):
        return self.numbers[0] % one_in == 0

    def who(self):
        """Choose whose token asks: an admin's now and then, and a dead one as well."""
        tokens = self.model.tokens
        if self.chance(4):
            tokens = [token for token in tokens if token.who in ADMINS or self.model.is_admin(token)]
        elif self.chance(2):  # who has something to give
            tokens = [token for token in tokens if any(self.model.may(token, "maintain", name) for name in NAMES)]
        return self.pick(tokens or self.model.tokens)

    def namespace(self):
        return self.pick(sorted(self.model.namespaces))

    # Comparing

    @staticmethod
    def is_fault(answer):
        """Whether an answer is of a fault of the server; a quota without room is none, and a 507."""
        return answer.status_code >= 500 and answer.json().get("code") != "quota_exceeded"

    def same(self, answer, expected, *about):
        """Check that an answer is of success where the model says so."""
        is_done = answer.status_code < 300
        self.tried[self.kind, bool(expected)] = self.tried.get((self.kind, bool(expected)), 0) + 1
        if self.is_fault(answer) or is_done is not bool(expected):
            raise Difference(f"{self.kind} {about}: {answer.status_code} {answer.text[:400]}, expected {expected}")

    def require(self, condition, answer, *about):
        self.tried[self.kind, answer.status_code < 300] = self.tried.get((self.kind, answer.status_code < 300), 0) + 1
        if self.is_fault(answer) or not condition:
            raise Difference(f"{self.kind} {about}: {answer.status_code} {answer.text[:400]}")

    # Administration

    def give(self):
        by, role, at = self.who(), self.pick(ROLES), self.pick((None, *sorted(self.model.namespaces) * 2))
        pattern, holder = self.pick(PATTERNS), self.pick((*PEOPLE, *BOTS, *GROUPS, *GROUPS, *GROUPS))
        body = {"principal": holder, "role": role, "namespace": at, "pattern": pattern}
        answer = self.world.ask(by, "POST", "/members", body)
        self.same(answer, self.model.give(by, holder, role, at, pattern), by, body)

    def take(self):
        by, grant = self.who(), self.pick(sorted(self.model.held, key=str))
        if self.chance(3):
            by = next((token for token in self.model.tokens if token.who == grant[0]), by)
        number = self.grant_number(grant)
        self.same(self.world.ask(by, "DELETE", f"/members/{number}"), self.model.take(by, grant), by, grant)

    def join(self):
        by, group, who = self.who(), self.pick(GROUPS), self.pick((*PEOPLE, *BOTS))
        answer = self.world.ask(by, "POST", f"/groups/{group}/members", {"principal": who})
        self.same(answer, self.model.join(by, group, who), by, group, who)

    def leave(self):
        by, group = self.who(), self.pick(GROUPS)
        who = self.pick(sorted(self.model.members[group]) or PEOPLE)
        answer = self.world.ask(by, "DELETE", f"/groups/{group}/members/{who}")
        self.same(answer, self.model.leave(by, group, who), by, group, who)

    def define(self):
        by, role, at = self.who(), self.pick(OWN), self.pick((None, *sorted(self.model.namespaces)))
        rights = {self.pick(GIVEN), self.pick(GIVEN)}
        answer = self.world.ask(by, "POST", "/roles", {"name": role, "namespace": at, "rights": sorted(rights)})
        self.same(answer, self.model.define(by, role, at, rights), by, role, at, rights)

    def undefine(self):
        by, (role, at) = self.who(), self.pick(sorted(self.model.roles, key=str) or [(OWN[0], None)])
        named = {} if at is None else {"namespace": at}
        answer = self.world.ask(by, "DELETE", f"/roles/{role}", **named)
        self.same(answer, self.model.undefine(by, role, at), by, role, at)

    def show(self):
        by, name, visibility = self.who(), self.namespace(), self.pick(VISIBILITIES)
        answer = self.world.ask(by, "PATCH", f"/namespaces/{name}", {"visibility": visibility})
        self.same(answer, self.model.show(by, name, visibility), by, name, visibility)

    def found(self):
        by, name, visibility = self.who(), self.pick((*NAMES, *SPARE)), self.pick(VISIBILITIES)
        answer = self.world.ask(by, "POST", "/namespaces", {"name": name, "visibility": visibility})
        self.same(answer, self.model.found(by, name, visibility), by, name)

    def rename(self):
        by, name, to = self.who(), self.namespace(), self.pick((*NAMES, *SPARE, *SPARE))
        answer = self.world.ask(by, "POST", f"/namespaces/{name}:rename", {"to": to})
        self.same(answer, self.model.rename(by, name, to), by, name, to)

    def disable(self):
        by, who = self.who(), self.pick((*PEOPLE, *BOTS, *ADMINS))
        answer = self.world.ask(by, "POST", f"/principals/{who}:disable")
        self.same(answer, self.model.disable(by, who), by, who)

    def enable(self):
        by, who = self.who(), self.pick(sorted(self.model.disabled) or PEOPLE)
        answer = self.world.ask(by, "POST", f"/principals/{who}:enable")
        self.same(answer, self.model.enable(by, who), by, who)

    def hand_over(self):
        by, account, to = self.who(), self.pick(sorted(self.model.owners)), self.pick((*PEOPLE, *GROUPS, *BOTS))
        answer = self.world.ask(by, "POST", f"/principals/{account}:give", {"to": to})
        self.same(answer, self.model.hand_over(by, account, to), by, account, to)

    def fill(self):
        by, name, limits = self.who(), self.namespace(), self.pick(({"uploads": 0}, {}))
        answer = self.world.ask(by, "PUT", f"/namespaces/{name}/quota", {"limits": limits})
        self.same(answer, self.model.fill(by, name, bool(limits)), by, name, limits)

    # Tokens

    def make(self):
        by, namespace = self.who(), self.namespace()
        limits = self.pick((None, [namespace], sorted({namespace, self.namespace()})))
        who = self.pick((by.who, by.who, f"{namespace}-ci", f"{namespace}-ci", *PEOPLE[:4], *BOTS[:3]))
        kind = "ci" if self.model.kinds.get(who, "service") == "service" else "pat"
        scopes = sorted({self.pick((*SCOPES, "break-glass")), SCOPES[self.numbers[0] % len(SCOPES)]})
        acts_for = self.pick((None, None, by.who, *GROUPS[:2]))
        body = {"principal": who, "kind": kind, "scopes": scopes, "namespaces": limits, "acts_for": acts_for}
        answer = self.world.ask(by, "POST", "/tokens", body | {"expires_in_s": WEEK_S})
        made = self.model.make(by, who, scopes, None if limits is None else frozenset(limits), acts_for)
        self.same(answer, made, by, body)
        self.keep(made, answer)

    def renew(self):
        by = self.pick(self.model.tokens)
        made = self.model.renew(by)
        answer = self.world.ask(by, "POST", "/tokens:renew", {})
        self.same(answer, made, by)
        self.keep(made, answer)

    def revoke(self):
        by, token = self.who(), self.pick(self.model.tokens)
        if token.who in ADMINS and not self.chance(10):
            return
        answer = self.world.ask(by, "POST", f"/tokens/{token.number}:revoke")
        self.same(answer, self.model.revoke(by, token), by, token)

    def trust(self):
        by, namespace = self.who(), self.namespace()
        fresh = f"ci-{len(self.model.trusts)}"
        account = self.pick((fresh, fresh, *(BOTS if self.model.is_admin(by) else ())))
        scopes = sorted({self.pick(("push", "promote", "serve", "read", "approve")), self.pick(("push", "promote"))})
        body = {"provider": "github", "issuer": self.world.issuer.url, "audience": "https://registry.example"}
        body |= {"namespace": namespace, "scopes": scopes, "principal": account, "source_id": "74", "owner_id": "65"}
        answer = self.world.ask(by, "POST", "/trusts", body)
        expected = None if "approve" in scopes else self.model.trust(by, namespace, account, scopes)
        self.same(answer, expected, by, namespace, account, scopes)
        if expected is not None:
            self.require(expected.number in {0, answer.json()["id"]}, answer, by, expected)
            expected.number = answer.json()["id"]

    def end_trust(self):
        if self.model.trusts:
            by, trust = self.who(), self.pick(self.model.trusts)
            answer = self.world.ask(by, "DELETE", f"/trusts/{trust.number}")
            self.same(answer, self.model.end_trust(by, trust), by, trust)

    def exchange(self):
        if self.model.trusts:
            trust = self.pick(self.model.trusts)
            answer, made = self.world.exchange(trust), self.model.exchange(trust)
            self.same(answer, made, trust)
            if made is not None:
                made.secret = answer.json()["access_token"]
                self.require(set(answer.json()["scope"].split()) == made.scopes, answer, trust, made)
                made.number = self.world.newest_token()

    def keep(self, made: Token | None, answer):
        if made is not None:
            made.secret, made.number = answer.json()["token"], answer.json()["id"]

    def grant_number(self, grant):
        return self.world.grant_number(*grant)


KINDS = {
    "give": 6, "take": 3, "join": 3, "leave": 2, "define": 2, "undefine": 1, "show": 2, "found": 1, "rename": 2,
    "disable": 1, "enable": 2, "hand_over": 1, "fill": 1, "make": 4, "renew": 2, "revoke": 1, "trust": 2,
    "end_trust": 1, "exchange": 3,
}  # fmt: skip
"""What is tried, and how often."""
