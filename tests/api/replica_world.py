"""Two servers of one database, and a line on them that is changed on one and asked for on both."""

import http.client
import json
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from itertools import count

import numpy as np
from safetensors.numpy import save_file

from deltareg.client import ClientConfig, WorkerClient
from deltareg.wire import API
from tests import tiny
from tests.api.replica_model import ADMIN, LIMITED, Channel, Model, Token, Version
from tests.api.replica_steps import AccessSteps, VersionSteps
from tests.signers import key_of

PEOPLE = ("ann", "bob", "cyd", LIMITED)
MEMBERS, GROUP = {"ann", "readers"}, {"cyd"}
NAMESPACES, LINES = ("lab", "den"), ("chat", "talk")
_IDLE_S = 1.0


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    tag: str
    body: bytes
    headers: http.client.HTTPMessage

    @property
    def fields(self):
        return json.loads(self.body)


class World(VersionSteps, AccessSteps):
    """The servers, the model of what they keep, and the steps that change both."""

    def __init__(self, servers, secret, folder, stack):
        self.servers = servers
        self.wires = [
            stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", each.port, timeout=60)))
            for each in servers
        ]
        own = servers[0].worker_token(folder / "cache")
        self.askers, self.workers = (
            [stack.enter_context(self._client(each, folder / "cache", token)) for each in servers]
            for token in (secret, own)
        )
        self.numbers = count(1)
        self._sent_at = [0.0] * len(servers)
        self._cookies: dict[tuple[int, Token | None], str] = {}
        self.admin = Token(ADMIN, secret, 0)
        self.tried: Counter[tuple[str, bool]] = Counter()
        self.model = self._make(folder)

    def _client(self, server, cache, token):
        config = ClientConfig(server=server.url, token=token, cache_dir=cache, patience_s=0.0, golden="never")
        return WorkerClient(config, key=key_of("worker"))

    def send(self, server, method, path, token=None, body=None, **headers):
        """Send a request to one of the servers, and give its answer."""
        self.begin(server, method, path, token, body, **headers)
        return self.finish(server)

    def begin(self, server, method, path, token=None, body=None, **headers):
        """Send a request as if from an address of its own: many send tokens that ended."""
        number = next(self.numbers)
        headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        if path.startswith("/ui/"):
            headers["Cookie"] = self._cookies.get((server, token), "")
        elif token is not None:
            headers["Authorization"] = f"Bearer {token.secret}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        self._send(server, method, path, None if body is None else json.dumps(body), headers)

    def _send(self, server, method, path, body, headers):
        if time.monotonic() - self._sent_at[server] > _IDLE_S:
            self.wires[server].close()  # it opens again by itself; the server gives up one that rests for long
        self._sent_at[server] = time.monotonic()
        self.wires[server].request(method, path, body, headers)

    def log_in(self, token):
        """Log a browser in on each server, where the token still lives and did not do so before."""
        for server in range(len(self.wires)):
            if token is None or not token.is_live or (server, token) in self._cookies:
                continue
            code = self.send(server, "POST", f"{API}/sessions", token).fields["code"]
            form = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
            self._send(server, "POST", "/ui/login", f"code={code}", form)
            cookie = self.finish(server).headers["Set-Cookie"]
            self._cookies[server, token] = cookie.partition(";")[0]

    def finish(self, server):
        """Read the answer to the request that was sent to a server."""
        answer = self.wires[server].getresponse()
        return Answer(answer.status, answer.headers.get("ETag", ""), answer.read(), answer.headers)

    def step(self, server, what, *named):
        """Do a step on one of the servers; what it refuses changes nothing."""
        done = getattr(self, what)(server, *named)
        self.tried[what, done] += 1
        return done

    def _change(self, server, method, path, body=None, *, token=None, **headers):
        answer = self.send(server, method, API + path, token or self.admin, body, **headers)
        assert answer.status < 300 or answer.status in {403, 404, 409, 422}, (path, answer)
        return (answer.fields if answer.body else {}) if answer.status < 300 else None

    def _make(self, folder):
        base = tiny.base(folder / "base")
        rows = {"inputs.input_ids": np.array([[1, 2, 3]])}
        logits = np.random.default_rng(0).standard_normal((1, 3, tiny.VOCABULARY)).astype(np.float32)
        save_file(rows | {"outputs.logits": logits}, folder / "golden.safetensors")
        versions = {}
        maker, line = self.askers[0], f"{NAMESPACES[0]}/{LINES[0]}"
        maker.bases.push(base.path, "tiny")
        for number, golden in ((1, None), (2, folder / "golden.safetensors"), (3, folder / "golden.safetensors")):
            delta = tiny.lora(folder / f"delta-{number}", base, seed=number).path
            pushed = maker.push(delta, line, base="tiny", golden=golden)
            versions[number] = Version(pushed.version.digest, golden is not None)
        channels = [Channel(name, {name}) for name in ("dev", "staging", "prod")]
        model = Model(NAMESPACES[0], LINES[0], versions, channels, {NAMESPACES[0]}, {LINES[0]})
        self.model = model
        for name in ("prod", "dev"):
            for number in (1, 2, 3):
                assert self.verdict(0, number, "pass")
                assert self.move(0, name, "promote", number, is_glass_broken=True)
        assert self._change(0, "POST", "/groups", {"name": "readers"}) is not None
        for who in PEOPLE:
            assert self.make_token(0, who)
        return model

    def begin_again(self):
        """Put back what a history changed, so that each begins alike but for names that lead on."""
        for what, *named in [*self._off_versions(), *self._off_access()]:
            assert getattr(self, what)(0, *named), (what, *named)
        tokens = self.model.tokens
        self.model.tokens = [one for one in tokens if one.is_live and one is self.model.tokens_of(one.who)[-1]]
        for who in PEOPLE:
            assert self.model.tokens_of(who) or self.make_token(0, who)

    def _off_versions(self):
        model = self.model
        for number, one in model.versions.items():
            yield from [("restore", number)] * one.is_deleted
            yield from [("unrevoke", number)] * bool(one.revoked)
            yield from [("deprecate", number, "")] * bool(one.deprecated)
        yield from [("deprecate_line", "")] * bool(model.deprecated)
        for channel in model.channels:
            yield from [("make_channel", channel.name)] * channel.is_deleted
            yield from [("unfreeze", channel.name)] * channel.is_frozen

    def _off_access(self):
        model = self.model
        yield "set_visibility", "internal"
        yield from (("enable", who) for who in sorted(model.disabled))
        yield from (("drop_member", who) for who in sorted(set(model.members) - MEMBERS))
        yield from (("add_member", who) for who in sorted(MEMBERS - set(model.members)))
        yield from (("leave", who) for who in sorted(model.group - GROUP))
        yield from (("join", who) for who in sorted(GROUP - model.group))
