"""Backups beside moves, deletions, retention, collection and pushes, at each point where a backup can be caught.

At a point, lines move to another namespace, some versions are deleted and others pruned, new ones are pushed, and all
that nothing needs is collected without a grace. What comes back must be what there was at the backup's snapshot.
"""

import pytest

import deltareg_migrations
from deltareg.db.session import create_engine
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.restore import RestoreTarget, restore_backup
from deltareg.service.backup.take import take_backup
from deltareg.service.retention.retaining import next_line, retain_some
from deltareg.service.upkeep import collect
from deltareg.service.upkeep.fsck import check
from deltareg.signing.keys import SigningKey
from deltareg.store import open_store
from deltareg.wire.retention import RetentionRule
from tests.faults.payloads import BASE, content, payload
from tests.fixtures.registries import running

KEY = SigningKey.of_seed(b"b" * 32)
POINTS = (
    "between tables",
    *(
        pytest.param(point, marks=pytest.mark.soak)
        for point in ("before the first row", "behind the rows", "before the objects", "between objects", "at the end")
    ),
)
LINES = ("lab/moved", "lab/stays", "lab/pruned", "lab/deleted")


class CaughtStore:
    """A place of backups in which something happens before a write: the first of a kind, or so many later."""

    def __init__(self, inner):
        self._inner, self.writes, self.at, self.then = inner, 0, None, None

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def write(self, key, body):
        self.writes += 1
        self._happen(self.writes)
        return self._inner.write(key, body)

    def keep(self, name, data):
        self._happen("manifest")
        return self._inner.keep(name, data)

    def _happen(self, now):
        if now == self.at and self.then is not None:
            then, self.then = self.then, None
            then()


@pytest.fixture
def server(both_databases):
    return both_databases


def fill(client, folder):
    """Push versions, of which two lines share bytes; give what each holds."""
    client.bases.push(BASE, "base")
    client.namespaces.create("den")
    pushed = {}
    for line, numbers in zip(LINES, ((1,), (1,), (3, 4), (6,)), strict=True):
        for number in numbers:
            ref = client.push(payload(folder, number), line, base="base").version.ref
            pushed[ref] = number
    return pushed


def disturb(server, client, folder):
    """Do all at once that could take something from a backup; give the versions that are new."""
    registry = server.registry
    client.lines.rename("lab/moved", "den/moved")
    client.versions.delete("lab/deleted:v1")
    client.storage.set_retention("lab/pruned", [RetentionRule(kind="", last=1)])
    retain(registry)
    new = client.push(payload(folder, 8), "lab/new", base="base").version.ref
    for _ in range(2):
        collect.run(registry.engine, registry.store, grace_s=0, keep_forms_s=0)
    return {new: 8}


def retain(registry):
    """Delete what the rules do not keep, line by line."""
    after = 0
    while (line := next_line(registry, after)) is not None:
        while retain_some(registry, line):
            pass
        after = line.id


@pytest.mark.parametrize("point", POINTS)
def test_a_backup_is_what_there_was_at_its_snapshot(server, tmp_path, point):
    place = CaughtStore(open_store((tmp_path / "backups").as_uri()))
    with server.client() as client:
        pushed = fill(client, tmp_path / "deltas")
        new = {}

        def now():
            new.update(disturb(server, client, tmp_path / "deltas"))

        place.at, place.then = {"between tables": 12, "between objects": None, "at the end": "manifest"}.get(point), now
        if point == "before the first row":
            place.at = 2  # the hold is the first
        taken = take(server, place, point, now)

        assert new, "the point was never reached"
        assert not taken.lacking
        restored = restore(place, tmp_path)
        url, folder, findings = restored
        assert findings == ()
        compare(url, folder, tmp_path, {**pushed, **new}, must=pushed)


def take(server, place, point, now):
    def report(line):
        if line.startswith("rows") and point == "behind the rows":
            now()
        if line.startswith("objects"):
            if point == "before the objects":
                now()
            if point == "between objects":
                place.at = place.writes + 3

    registry = server.registry
    return take_backup(registry.engine, registry.store, Archive(place), signer=KEY, keys={}, report=report)


def restore(place, tmp_path):
    url, folder = f"sqlite:///{tmp_path / 'restored.db'}", tmp_path / "restored"
    store, archive = open_store(folder.as_uri()), Archive(place)
    target = RestoreTarget(url, store, lambda to: deltareg_migrations.upgrade(url, revision=to), lambda _: None)
    restore_backup(archive, archive.find(), target, lambda _: None)
    engine = create_engine(url)
    findings = check(engine, store, read_data=True).findings
    engine.dispose()
    return url, folder, findings


def compare(url, folder, tmp_path, known, *, must):
    """Pull all that a restored registry lists, and hold it against what was pushed."""
    with running(url, folder.as_uri(), tmp_path / "again") as again, again.client() as client:
        there = {version.ref for line in client.lines.list() for version in client.versions.list(line.ref)}
        for ref in there:
            number = known[ref.replace("den/moved", "lab/moved")]
            target = tmp_path / "pulled" / ref.replace("/", "-").replace(":", "-")
            client.pull(ref, target)
            assert content(payload(tmp_path / "deltas", number)).items() <= content(target).items(), ref
    assert there >= {ref for ref in must if ref.startswith("lab/stays")}
    assert len(there) >= 4
