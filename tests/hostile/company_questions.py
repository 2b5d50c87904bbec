"""What people of the company ask: what they may not see is as what was never there, and no answer names it."""

import re

from deltareg.identity.manifest import Manifest
from tests.api.world import ROOT, plain
from tests.hostile.company_steps import Difference, Steps
from tests.hostile.company_world import CHANNELS, GROUPS, LINES

MANIFEST = Manifest("lora", "", True, ROOT, {}, (), ()).encode().decode()
NOWHERE, NEVER = "nowhere", 999_999
MANY = 200


class Questions(Steps):
    """Steps, and what is asked between them."""

    # Asking

    def ask(self, by, method, path, body=None, **more):
        """Ask, and look for names that whoever asks may not know."""
        answer = self.world.ask(by, method, path, body, **more)
        if not self.model.is_live(by):
            self.require(answer.status_code == 401, answer, by, path)
            return answer
        self.require(not self.is_fault(answer), answer, by, path)
        if answer.status_code == 401:
            raise Difference(f"{self.kind} {by}: a live token is refused: {answer.text[:300]}")
        seen = {name for name in self.model.namespaces if self.model.sees_namespace(by, name)}
        known = seen | {old for old, now in self.model.former.items() if now in seen} | (by.limits or set())
        asked = f"{path} {body} {more}"
        for name in (self.model.namespaces | self.model.former.keys()) - known:
            if name not in asked and re.search(rf"\b{name}\b(?!-)", answer.text):
                raise Difference(f"{self.kind} {by} {path}: {name} is told of: {answer.text[:600]}")
        return answer

    def hidden(self, by, answer, name, method, path, body=None, **more):
        """Whether an answer is that of what was never there."""
        other = self.world.ask(by, method, path.replace(name, NOWHERE), body, **more)
        return answer.status_code in {403, 404} and plain(answer) == plain(other, ns=(NOWHERE, name))

    def place(self):
        return self.pick(sorted(self.model.with_lines)), self.pick(LINES)

    def read(self):
        by, (name, line) = self.who(), self.place()
        now, path = name, f"/deltas/{name}/{line}/versions"
        if self.model.former and self.chance(5):  # by a former name, which leads on for who sees where to
            name, now = self.pick(sorted(self.model.former.items()))
            if now not in self.model.with_lines:
                return
            path = f"/deltas/{name}/{line}/versions"
        answer = self.ask(by, "GET", path)
        if not self.model.is_live(by):
            return
        if self.model.may(by, "read", f"{now}/{line}"):
            self.require(answer.status_code == 200, answer, by, path)
        elif self.model.sees_line(by, now, line):
            self.require(answer.status_code in {403, 404}, answer, by, path)
        else:
            self.require(self.hidden(by, answer, name, "GET", path), answer, by, path)

    def push(self):
        by, (name, line) = self.who(), self.place()
        answer = self.ask(
            by, "POST", "/uploads", {"subject": "delta", "target": f"{name}/{line}", "manifest": MANIFEST}
        )
        if not self.model.is_live(by):
            return
        is_allowed = self.model.may(by, "push", f"{name}/{line}")
        self.require((answer.status_code == 403) is not is_allowed, answer, by, name, line)
        if is_allowed and self.model.reads_anything(by):
            is_kept = name not in self.model.full or answer.json().get("code") == "quota_exceeded"
            self.require(is_kept and (answer.status_code < 300) is (name not in self.model.full), answer, by, name)
        if answer.status_code < 300 and answer.json()["state"] == "open":
            gone = self.ask(by, "DELETE", f"/uploads/{answer.json()['id']}")
            self.require(gone.status_code < 300, gone, by, name)

    def promote(self):
        by, (name, line), channel = self.who(), self.place(), self.pick(CHANNELS)
        glass = self.pick((False, False, True))
        path = f"/deltas/{name}/{line}/channels/{channel}/revisions"
        body = {"kind": "promote", "version": 1, "reason": "x", "break_glass": glass}
        headers = {"If-Match": '"r9999"'}
        answer = self.ask(by, "POST", path, body, headers=headers)
        if not self.model.is_live(by):
            return
        if self.model.may(by, "break-glass" if glass else "promote", f"{name}/{line}@{channel}"):
            self.require(answer.status_code in {404, 412, 409}, answer, by, path, body)
        else:
            is_right = answer.status_code == 403 and self.hidden(by, answer, name, "POST", path, body, headers=headers)
            self.require(is_right, answer, by, path, body)

    def approve(self):
        by, (name, line), channel = self.who(), self.place(), self.pick(CHANNELS)
        number = self.world.requests[f"{self.model.numbers[name]}/{line}@{channel}"]
        answer = self.ask(by, "POST", f"/requests/{number}:approve", {})
        if not self.model.is_live(by):
            return
        if not self.model.sees_line(by, name, line):
            never = plain(self.world.ask(by, "POST", f"/requests/{NEVER}:approve", {}), n=(str(NEVER), str(number)))
            self.require(plain(answer) == never, answer, by, name, line)
        else:
            wanted = 409 if self.model.may(by, "approve", f"{name}/{line}@{channel}") else 403
            self.require(answer.status_code == wanted, answer, by, name, line, channel)

    def members(self):
        by, name = self.who(), self.namespace()
        answer = self.ask(by, "GET", "/members", namespace=name, limit=MANY)
        if not self.model.is_live(by):
            return
        if not self.model.reads_anything(by):
            self.require(answer.status_code == 403, answer, by, name)
        elif self.model.sees_namespace(by, name):
            self.require(answer.status_code == 200, answer, by, name)
            told = {(one["principal"], one["role"], name, one["pattern"]) for one in answer.json()["items"]}
            self.require(told == {grant for grant in self.model.held if grant[2] == name}, answer, by, name)
        else:
            other = self.world.ask(by, "GET", "/members", namespace=NOWHERE, limit=MANY)
            self.require(plain(answer) == plain(other, ns=(NOWHERE, name)), answer, by, name)

    def audit(self):
        by, name = self.who(), self.namespace()
        answer = self.ask(by, "GET", "/audit", namespace=name)
        if not self.model.is_live(by) or not self.model.reads_anything(by):
            return
        if self.model.may(by, "admin", name):
            self.require(answer.status_code == 200, answer, by, name)
        elif self.model.sees_namespace(by, name):
            self.require(answer.status_code == 403, answer, by, name)
        else:
            other = self.world.ask(by, "GET", "/audit", namespace=NOWHERE)
            self.require(plain(answer) == plain(other, ns=(NOWHERE, name)), answer, by, name)

    def namespaces(self):
        by = self.who()
        shown = {name for name in self.model.namespaces if self.model.lists_namespace(by, name)}
        self.lists(by, "/namespaces", "name", shown)

    def lines(self):
        by = self.who()
        named = {f"{name}/{line}" for name in self.model.with_lines for line in LINES}
        self.lists(by, "/deltas", "ref", {place for place in named if self.model.may(by, "read", place)})

    def groups(self):
        by = self.who()
        self.lists(by, "/groups", "name", {name for name in GROUPS if self.model.sees(by, name)})

    def group(self):
        by, name = self.who(), self.pick(GROUPS)
        answer = self.ask(by, "GET", f"/groups/{name}")
        if self.model.is_live(by) and self.model.reads_anything(by):
            if self.model.sees(by, name):
                told = {one["name"] for one in answer.json()["members"]}
                self.require(told == self.model.members[name], answer, by, name)
            else:
                self.require(self.hidden(by, answer, name, "GET", f"/groups/{name}"), answer, by, name)

    def lists(self, by, path, field, shown):
        answer = self.ask(by, "GET", path, limit=MANY)
        if not self.model.is_live(by):
            return
        if not self.model.reads_anything(by):
            self.require(answer.status_code == 403, answer, by, path)
            return
        self.require(answer.status_code == 200, answer, by, path)
        told = {one[field] for one in answer.json()["items"]}
        self.require(told == shown, answer, by, path, sorted(told ^ shown))

    def others(self):
        """Lists of which only is asked what they may not tell."""
        by = self.who()
        paths = ("/search", "/events", "/requests", "/quotas", "/access", "/runs", "/fleet/agents")
        answer = self.ask(by, "GET", self.pick((*paths, "/verdicts", "/bases", "/roles", "/namespace-requests")))
        self.require(answer.status_code < 404, answer, by)

    def tokens(self):
        by = self.who()
        answer = self.world.ask(by, "GET", "/tokens", limit=MANY)
        if self.model.is_live(by):
            shown = sorted((one.number for one in self.model.tokens if self.model.lists_token(by, one)), reverse=True)
            self.require([one["id"] for one in answer.json()["items"]] == shown[:MANY], answer, by, shown)

    def check_state(self):
        """Compare all that is held, and all tokens that live, with the database."""
        held, live = self.world.held()
        if held != self.model.held:
            raise Difference(f"held: {sorted(held ^ self.model.held, key=str)}")
        alive = {token.number for token in self.model.tokens if self.model.is_live(token)}
        if live != alive:
            raise Difference(f"tokens: {sorted(live ^ alive)}")


ASKED = {
    "read": 8, "push": 6, "promote": 6, "approve": 4, "members": 4, "audit": 3, "namespaces": 2, "lines": 2,
    "groups": 2, "group": 2, "others": 4, "tokens": 2,
}  # fmt: skip
"""What is asked, and how often."""
