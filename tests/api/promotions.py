"""A promotion by hand, and a worker's report by hand, each part of which can be forged."""

import shutil
from dataclasses import dataclass, field, replace

import numpy as np
from safetensors.numpy import load_file, save_file

from deltareg.db.channels.channels import channel_row
from deltareg.db.lines.deltas import delta_row
from deltareg.db.session import read
from deltareg.wire import ChannelMove, LeaseGrant, LeaseRequest
from tests.api.forger import prepare
from tests.fixtures.registries import SAMPLES, SCOPES, report
from tests.signers import enrol_named, key_of, sign_fields

MINE, LEASE = "mine", "lease"


class Promotions:
    """A registry with many lines; each mutation gets a fresh one, whose v1 is not yet verified."""

    def __init__(self, server):
        self.server = server
        self.client = server.client(principal="maker")
        self.http = server.http(server.token(*SCOPES))
        self.worker = server.http(server.token("read", "verify", principal="w", kind="wrk"))
        self.other_worker = server.http(server.token("read", "verify", principal="w2", kind="wrk"))
        self._lines = 0
        self.client.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
        self.client.bases.push(self._perturbed(), "shifted")
        self._first = prepare(self.client, "lora")

    def fresh(self):
        """Push a delta to a line of its own, with nothing in the queue but its run."""
        self._lines += 1
        line = Line(self, f"team/f{self._lines}")
        self.empty_queue()
        answer = replace(self._first, target=line.name).send(self.http)
        assert answer.status_code == 200, answer.text
        line.run = verifications(self.client.runs.queue().items)[0]
        return line

    def empty_queue(self):
        for run in self.client.runs.queue(limit=200).items:
            self.http.post(f"/runs/{run.id}:cancel")

    def push_suite(self, about):
        """Push the suite `mine` as a new version, which differs in what it says of itself."""
        document = f"name: {MINE}\nabout: {about}\nseed: 7\nchecks:\n  - effect\n"
        answer = self.http.post("/suites", json={"document": document})
        assert answer.status_code == 200, answer.text

    def _perturbed(self):
        """Make a base of the same shapes with other weights."""
        folder = self.server.folder / "shifted"
        shutil.copytree(SAMPLES / "bases" / "tinyllama", folder)
        for path in folder.glob("*.safetensors"):
            tensors = load_file(path)
            save_file({k: v + np.asarray(1e-3, v.dtype) for k, v in tensors.items()}, path)
        return folder


def verifications(runs):
    """Give the ids of the runs that judge, without those that prove."""
    return [run.id for run in runs if run.what == "verify"]


@dataclass
class Line:
    """One line and what is tried on it; `changed` lists the moves that were made."""

    world: Promotions
    name: str
    run: str = ""
    changed: list[str] = field(default_factory=list)

    def push(self, delta="lora", *, base="tinyllama"):
        """Push a further version; its run alone is in the queue."""
        self.world.empty_queue()
        path = SAMPLES / "deltas" / "tinyllama" / delta
        self.client.push(path, self.name, base=base)
        queued = verifications(self.client.runs.list(state="queued", limit=5).items)
        self.run = queued[0] if queued else ""
        return self

    @property
    def client(self):
        return self.world.client

    @property
    def path(self):
        return f"/deltas/{self.name}/channels"

    def verify(self, version=1, **changes):
        """Let a version be judged, by a report that may differ from an honest one."""
        self.world.empty_queue()
        suite = changes.pop("suite", "smoke")
        channel = changes.pop("channel", None)
        self.run = self.client.verify(f"{self.name}:v{version}", suite=suite, channel=channel, again=True).id
        answer = self.complete(self.honest(self.lease(), **changes))
        assert answer.status_code == 200, answer.text
        return self

    def ask_again(self):
        """Queue v1 once more; its run alone is in the queue."""
        self.world.empty_queue()
        self.run = self.client.verify(f"{self.name}:v1", again=True).id

    def lease(self, worker=None):
        """Let a worker take the run that is queued."""
        name = "w" if worker is None else "w2"
        key = enrol_named(self.world.server.registry.engine, name)
        body = LeaseRequest(worker=name, key=str(key.public)).model_dump()
        answer = (worker or self.world.worker).post("/leases", json=body)
        assert answer.json()["run"] == self.run, answer.text
        return answer.json() | {"worker": name}

    def honest(self, grant, **changes):
        """Write the report of a pass, or what is given in its place, to be signed when sent."""
        is_smoke = grant["suite"] == "smoke"
        smoke = grant if is_smoke else {**grant, "suite": "smoke"}
        found = report(LeaseGrant.model_validate(smoke)).model_dump(mode="json")
        if not is_smoke:
            found["checks"] = [check for check in found["checks"] if check["name"] == "effect"]
        return found | changes | {LEASE: grant}

    def complete(self, body, *, run=None, by=None):
        """Send a report, signed as who leased its run."""
        found = dict(body)
        lease = found.pop(LEASE)
        body = sign_fields(lease, found, key_of(lease["worker"]), worker=lease["worker"])
        return (by or self.world.worker).post(f"/runs/{run or self.run}:complete", json=body)

    def move(self, *, channel="dev", seen="now", by=None, headers=None, **body):
        """Ask for a move, and note what it changed."""
        asked = {"kind": "promote"} | body
        revision = self._revision(channel)
        tag = {"If-Match": f'"r{revision if seen == "now" else seen}"'}
        path = f"{self.path}/{channel}/revisions"
        sent = tag if headers is None else headers
        answer = (by or self.world.http).post(path, json=asked, headers=sent)
        if self._revision(channel) != revision:
            self.changed.append(f"{asked}")
        return answer

    def promote(self, version=1, **how):
        return self.move(version=version, **how)

    def serve(self, *versions, channel="dev"):
        """Verify versions and promote them, one after the other, as it should be."""
        for version in versions:
            self.verify(version)
            move = ChannelMove(kind="promote", version=version)
            seen = self._revision(channel)
            answer = self.world.http.post(
                f"{self.path}/{channel}/revisions", json=move.model_dump(), headers={"If-Match": f'"r{seen}"'}
            )
            assert answer.status_code == 200, answer.text
        return self

    def asks(self, **policy):
        """Give `dev` a policy."""
        self.client.channels.set_policy(self.name, "dev", policy)
        return self

    def _revision(self, channel):
        namespace, _, name = self.name.partition("/")
        with read(self.world.server.registry.engine) as conn:
            line = delta_row(conn, namespace, name)
            row = None if line is None else channel_row(conn, line.id, channel)
        return 0 if row is None else row.revision
