"""Old backups go with what only they need; what is kept is whole, and what is being taken stays."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from deltareg.digest import Digest
from deltareg.errors import Conflict, IntegrityFailure, NotFound
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.manifest import sign_manifest
from deltareg.service.backup.place_hold import while_pruning, while_taking
from deltareg.service.backup.prune import prune
from deltareg.service.backup.take import take_backup
from deltareg.service.backup.verify import verify_backup
from deltareg.service.upkeep import collect
from deltareg.signing.age_keys import AgeKeys
from deltareg.signing.keys import SigningKey
from deltareg.store import fresh_key, open_store, parse_key
from tests.fixtures.registries import SAMPLES

KEY = SigningKey.of_seed(b"b" * 32)
DAY_US = 86_400_000_000
SOON_S = 0.5
OF_NOBODY = fresh_key(Digest("sha256", "ab" * 32), attempt=AgeKeys().mark)


def quiet(_line):
    pass


@pytest.fixture
def place(tmp_path):
    return open_store((tmp_path / "backups").as_uri())


@pytest.fixture
def local(local_registry):
    local_registry.line("lora", "lora_v2")
    return local_registry


def take(server, place, recipients=(), *, days_ago=0, lacking=None):
    """Take a backup as if so many days ago."""
    archive = Archive(place, AgeKeys(recipients))
    take_backup(server.registry.engine, server.registry.store, archive, signer=KEY, keys={}, report=quiet)
    name, manifest = archive.all()[-1]
    place.delete(name)
    aged = {"taken_us": manifest.taken_us - days_ago * DAY_US, "lacking": lacking or manifest.lacking}
    manifest = manifest.model_copy(update=aged)
    archive.add_manifest(manifest, sign_manifest(manifest, KEY))
    return manifest.name


def push_and_delete(server):
    """Bring an object that the next backup needs, and give what takes it away again."""
    client, registry = server.client(), server.registry
    pushed = client.push(SAMPLES / "deltas" / "tinyllama" / "full", "team/new", base="tinyllama").version.ref

    def take_away():
        client.versions.delete(pushed)
        assert collect.run(registry.engine, registry.store, grace_s=0, keep_forms_s=0).objects > 0

    return take_away


def prune_now(place, keep_days=30, *, is_dry=False):
    return prune(Archive(place), keep_days=keep_days, is_dry=is_dry, report=quiet, lease_s=SOON_S)


def names(place):
    return [one.name for _, one in Archive(place).all()]


def verify_all(place, identities=()):
    archive = Archive(place, AgeKeys((), identities))
    for _, one in archive.all():
        verify_backup(archive, one, quiet)


def test_an_old_backup_goes_with_what_only_it_needs(local, place):
    take_away = push_and_delete(local)
    take(local, place, days_ago=40)
    take_away()
    older = dict(place.keys())
    kept = [take(local, place, days_ago=29), take(local, place)]
    there = dict(place.keys())

    told = prune_now(place, is_dry=True)
    assert dict(place.keys()) == there
    done = prune_now(place)

    assert (done, list(done.kept), len(done.gone)) == (told, kept, 1)
    left = dict(place.keys())
    assert (done.objects, done.objects_bytes) == (len(there) - len(left), sum(there.values()) - sum(left.values()))
    assert done.objects > 2
    assert older.keys() & left.keys()  # what it shared
    assert names(place) == kept
    verify_all(place)
    assert (prune_now(place).gone, prune_now(place).objects) == ((), 0)


def test_nothing_goes_while_none_is_taken(local, place):
    kept = [take(local, place, days_ago=300), take(local, place, days_ago=290)]

    assert list(prune_now(place).kept) == kept
    assert list(prune_now(place, 1).kept) == kept[1:]
    verify_all(place)


@pytest.mark.parametrize("harm", ["lacks of the registry", "lost in the place"])
def test_what_is_not_whole_lets_none_go(local, place, harm):
    take_away = push_and_delete(local)
    good = take(local, place, days_ago=40)
    take_away()
    before = dict(place.keys())
    last = take(local, place, lacking=1 if harm == "lacks of the registry" else None)
    if harm == "lost in the place":
        place.delete(f"blobs/{Archive(place).find().catalog}/{AgeKeys().mark}")

    done = prune_now(place)

    assert (list(done.kept), done.gone) == ([good, last], ())
    assert before.keys() <= dict(place.keys()).keys()


def test_what_cannot_be_read_lets_none_go(local, place):
    with pytest.raises(IntegrityFailure, match="no backup"):
        prune_now(place)
    take(local, place, days_ago=40)
    name = take(local, place, days_ago=1)
    take(local, place)
    there = dict(place.keys())
    needs = next(one.needs for _, one in Archive(place).all() if one.name == name)
    place.delete(f"blobs/{needs}/{AgeKeys().mark}")

    with pytest.raises(IntegrityFailure, match="needs is missing"):
        prune_now(place)
    place.keep(f"log/backups/{1:018}-{'0' * 16}", b"{}")
    with pytest.raises(IntegrityFailure, match="no backup"):
        prune_now(place)

    assert len(there) - len(dict(place.keys())) == 1


def test_a_backup_of_the_future_lets_none_go(local, place):
    take(local, place)
    take(local, place, days_ago=-400)

    with pytest.raises(Conflict, match="of the future"):
        prune_now(place)

    assert len(names(place)) == 2


def test_what_killed_backups_left_goes_and_what_others_keep_there_stays(local, place):
    take(local, place)
    others = fresh_key(Digest("sha256", "ab" * 32), attempt=uuid4())
    for key in (OF_NOBODY, others):
        place.write(key, [b"x" * 9])

    done = prune_now(place)

    assert (done.objects, done.objects_bytes) == (1, 9)
    assert (place.size(OF_NOBODY), place.size(others)) == (None, 9)
    verify_all(place)


def test_no_private_key_is_needed_and_keys_may_change(local, place):
    age = pytest.importorskip("pyrage", reason="needs pyrage: pip install 'deltareg[backup]'")
    former, later = age.x25519.Identity.generate(), age.x25519.Identity.generate()
    take(local, place, (str(former.to_public()),), days_ago=40)
    kept = [take(local, place, (str(former.to_public()),), days_ago=3), take(local, place, (str(later.to_public()),))]

    done = prune_now(place)
    assert (list(done.kept), len(done.gone)) == (kept, 1)
    verify_all(place, (str(former), str(later)))

    prune_now(place, 1)
    verify_all(place, (str(later),))
    assert len({parse_key(key).attempt for key in dict(place.keys())}) == 2  # of the later key, and of none


# Holds


def holds_of(place, what):
    return [key for key, _ in place.keys(f"blobs/{hashlib.sha256(what).hexdigest()}/")]


def test_a_backup_that_is_being_taken_keeps_all(local, place):
    take(local, place, days_ago=40)
    take(local, place)

    with while_taking(place, quiet, lease_s=SOON_S) as check:
        place.write(OF_NOBODY, [b"x"])
        with pytest.raises(Conflict, match="another process"):
            prune_now(place)
        check()

    assert (place.size(OF_NOBODY), len(names(place))) == (1, 2)
    assert prune_now(place).objects == 1


def test_a_backup_waits_until_pruning_has_ended(local, place):
    waits = threading.Event()

    def back_up():
        archive = Archive(place)
        take_backup(
            local.registry.engine,
            local.registry.store,
            archive,
            signer=KEY,
            keys={},
            report=lambda line: waits.set() if line.startswith("waiting") else None,
        )
        return archive

    place.write(OF_NOBODY, [b"x"])
    with ThreadPoolExecutor(1) as pool:
        with while_pruning(place, quiet) as check:
            taken = pool.submit(back_up)
            assert waits.wait(60)
            place.delete(OF_NOBODY)
            check()
            assert (names(place), taken.done()) == ([], False)
        archive = taken.result(60)

    assert OF_NOBODY not in archive.there  # what was there before is not relied on
    verify_all(place)
    assert holds_of(place, b"prune") == holds_of(place, b"backup") == []


@pytest.mark.parametrize("what", [b"backup", b"prune"])
def test_the_hold_of_a_killed_process_ends(place, what):
    dead = fresh_key(Digest("sha256", hashlib.sha256(what).hexdigest()), attempt=uuid4())
    place.write(dead, [])

    with while_taking(place, quiet, lease_s=SOON_S):
        assert (place.size(dead) is None) == (what == b"prune")
    with while_pruning(place, quiet, lease_s=SOON_S):
        assert place.size(dead) is None


def test_two_that_prune_take_turns(place):
    inside = []

    def alone(_number):
        with while_pruning(place, quiet, lease_s=20.0) as check:
            inside.append(1)
            check()
            seen = len(inside)
            inside.pop()
            return seen

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(alone, range(6))) == [1] * 6


def test_a_hold_is_renewed_under_another_name(place):
    with while_taking(place, quiet, lease_s=SOON_S) as check:
        first = holds_of(place, b"backup")
        for _ in range(1_000):
            if not set(first) & set(holds_of(place, b"backup")):
                break
            threading.Event().wait(0.01)
        check()
        assert not set(first) & set(holds_of(place, b"backup"))


def test_a_backup_whose_hold_was_taken_away_is_none(local, place):
    def lapse(line):
        if line.startswith("objects"):
            for key in holds_of(place, b"backup"):
                place.delete(key)

    with pytest.raises(Conflict, match="out of touch with the place"):
        take_backup(local.registry.engine, local.registry.store, Archive(place), signer=KEY, keys={}, report=lapse)

    with pytest.raises(NotFound):
        Archive(place).find()
