"""Steps of a history: each asks one server for a change, and makes it in the model where the server says so."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from deltareg.client import Client, WorkerClient
from deltareg.wire import CheckResult, LeaseRequest
from tests.api.replica_model import LIMITED, Channel, Model, Token
from tests.fixtures.registries import report

FIRST_NAMES = {"live": "prod", "beta": "dev"}


class Steps(ABC):
    """What steps need: the model, and servers that are asked."""

    model: Model
    numbers: Iterator[int]
    askers: list[Client]
    workers: list[WorkerClient]

    @abstractmethod
    def _change(self, server, method, path, body=None, *, token=None, **headers) -> Any:
        """Ask for a change; gives the fields of the answer, or None where it is refused."""

    def _channel(self, name) -> Channel:
        return next(one for one in self.model.channels if name in one.names)


class VersionSteps(Steps):
    """Steps about versions and channels."""

    def _version(self, server, number, act, body=None, *, method="POST"):
        return self._change(server, method, f"/deltas/{self.model.path}/versions/{number}{act}", body)

    def revoke(self, server, number):
        reason = f"r{next(self.numbers)}"
        done = self._version(server, number, ":revoke", {"reason": reason, "even_if_served": True})
        if done is not None and not self.model.versions[number].revoked:
            self.model.versions[number].revoked = reason
        return done is not None

    def unrevoke(self, server, number):
        done = self._version(server, number, ":unrevoke", {"reason": "good after all"})
        if done is not None:
            self.model.versions[number].revoked = ""
        return done is not None

    def delete(self, server, number):
        done = self._version(server, number, "", method="DELETE")
        self.model.versions[number].is_deleted |= done is not None
        return done is not None

    def restore(self, server, number):
        done = self._version(server, number, ":restore")
        self.model.versions[number].is_deleted &= done is None
        return done is not None

    def deprecate(self, server, number, reason):
        done = self._version(server, number, ":deprecate", {"reason": reason})
        if done is not None:
            self.model.versions[number].deprecated = reason
        return done is not None

    def deprecate_line(self, server, reason):
        done = self._change(server, "POST", f"/deltas/{self.model.path}:deprecate", {"reason": reason})
        if done is not None:
            self.model.deprecated = reason
        return done is not None

    def verdict(self, server, number, outcome):
        """Verify a version; whatever else is queued before it gets the same verdict."""
        asker, worker = self.askers[server], self.workers[server]
        if self.model.versions[number].is_deleted:
            return False
        run = asker.verify(f"{self.model.path}:v{number}", again=True)
        while run.verdict is None:
            grant = worker.lease(LeaseRequest(worker="scripted"))
            assert grant is not None, f"nothing is queued, and v{number} has no verdict"
            told = report(grant, verdict=outcome, fail="golden")
            checks = [one for one in told.checks if one.name != "golden"]
            golden = CheckResult(name="golden", verdict=outcome, value=1.0, detail="recorded by its publisher; one")
            worker.complete_run(grant.run, told.model_copy(update={"checks": [*checks, golden]}))
            one = self.model.versions[int(grant.ref.rpartition(":v")[2])]
            one.verdict, one.golden = outcome, f"recorded by its publisher: {outcome}"
            run = asker.runs.show(run.id)
        return True

    def move(self, server, name, kind, number=None, is_glass_broken=False):
        channel = self._channel(name)
        reason = f"m{next(self.numbers)}"
        body = {"kind": kind, "version": number, "reason": reason, "break_glass": is_glass_broken}
        seen = f'"r{len(channel.versions)}"'
        path = f"/deltas/{self.model.path}/channels/{channel.name}/revisions"
        done = self._change(server, "POST", path, body, **{"If-Match": seen})
        if done is None:
            return False
        channel.move(kind, done["version"], reason)
        return True

    def freeze(self, server, name):
        return self.move(server, name, "freeze")

    def unfreeze(self, server, name):
        return self.move(server, name, "unfreeze")

    def drop_channel(self, server, name):
        channel = self._channel(name)
        done = self._change(server, "DELETE", f"/deltas/{self.model.path}/channels/{channel.name}")
        channel.is_deleted |= done is not None
        return done is not None

    def make_channel(self, server, name):
        channel = self._channel(name)
        done = self._change(server, "PUT", f"/deltas/{self.model.path}/channels/{channel.name}")
        channel.is_deleted &= done is None
        return done is not None


class AccessSteps(Steps):
    """Steps about names, and about who may see what is called so."""

    def rename_namespace(self, server, to):
        model = self.model
        done = self._change(server, "POST", f"/namespaces/{model.namespace}:rename", {"to": to})
        if done is not None:
            model.namespace, model.namespaces = to, {*model.namespaces, to}
        return done is not None

    def rename_line(self, server, to):
        model = self.model
        path = f"/deltas/{model.path}:rename"
        done = self._change(server, "POST", path, {"to": f"{model.namespace}/{to}"})
        if done is not None:
            model.line, model.lines = to, {*model.lines, to}
        return done is not None

    def free_name(self, server, name):
        done = self._change(server, "DELETE", f"/deltas/{self.model.namespace}/{name}/name")
        if done is not None:
            self.model.lines.remove(name)
        return done is not None

    def rename_channel(self, server, to):
        channel = self._channel(FIRST_NAMES.get(to, to))
        path = f"/deltas/{self.model.path}/channels/{channel.name}:rename"
        done = self._change(server, "POST", path, {"to": to})
        if done is not None:
            channel.name, channel.names = to, {*channel.names, to}
        return done is not None

    def set_visibility(self, server, visibility):
        done = self._change(server, "PATCH", f"/namespaces/{self.model.namespace}", {"visibility": visibility})
        if done is not None:
            self.model.visibility = visibility
        return done is not None

    def add_member(self, server, who):
        asked = {"principal": who, "role": "reader", "namespace": self.model.namespace}
        done = self._change(server, "POST", "/members", asked)
        if done is not None:
            self.model.members[who] = done["id"]
        return done is not None

    def drop_member(self, server, who):
        done = self._change(server, "DELETE", f"/members/{self.model.members.get(who, 0)}")
        if done is not None:
            del self.model.members[who]
        return done is not None

    def join(self, server, who):
        done = self._change(server, "POST", "/groups/readers/members", {"principal": who})
        if done is not None:
            self.model.group.add(who)
        return done is not None

    def leave(self, server, who):
        done = self._change(server, "DELETE", f"/groups/readers/members/{who}")
        if done is not None:
            self.model.group.discard(who)
        return done is not None

    def make_token(self, server, who):
        limits = {"namespaces": [self.model.namespace]} if who == LIMITED else {}
        asked = {"principal": who, "kind": "ci" if who == LIMITED else "pat", "scopes": ["read"], "everywhere": False}
        asked |= {"acts_for": "admin"} if who == LIMITED else {}
        done = self._change(server, "POST", "/tokens", asked | limits)
        if done is not None:
            self.model.tokens.append(Token(who, done["token"], done["id"]))
        return done is not None

    def renew_token(self, server, who):
        token = self.model.tokens_of(who)[-1]
        if not token.is_live:
            return False
        done = self._change(server, "POST", "/tokens:renew", {}, token=token)
        if done is not None:
            self.model.tokens.append(Token(who, done["token"], done["id"], token))
        return done is not None

    def revoke_token(self, server, who):
        token = self.model.tokens_of(who)[-1]
        done = self._change(server, "POST", f"/tokens/{token.id}:revoke")
        if done is not None:
            self.model.end_token(token)
        return done is not None

    def disable(self, server, who):
        done = self._change(server, "POST", f"/principals/{who}:disable")
        if done is not None:
            self.model.disabled.add(who)
            self.model.end_tokens(who)
        return done is not None

    def enable(self, server, who):
        done = self._change(server, "POST", f"/principals/{who}:enable")
        if done is not None:
            self.model.disabled.discard(who)
        return done is not None

    def hand_over(self, server, to):
        done = self._change(server, "POST", f"/principals/{LIMITED}:give", {"to": to})
        if done is not None and self.model.owner != to:
            self.model.owner = to
            self.model.end_tokens(LIMITED)
        return done is not None
