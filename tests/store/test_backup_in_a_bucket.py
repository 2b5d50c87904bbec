"""Backups of a registry on PostgreSQL and a bucket, into a bucket, encrypted, and back into a folder."""

import sys
import time
from uuid import UUID

import pytest

import deltareg_migrations
from deltareg.digest import sha256_of
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.manifest import sign_manifest
from deltareg.service.backup.prune import prune
from deltareg.service.backup.restore import RestoreTarget, restore_backup
from deltareg.service.backup.take import take_backup
from deltareg.service.backup.verify import verify_backup
from deltareg.signing.age_keys import AgeKeys
from deltareg.signing.keys import SigningKey
from deltareg.store import fresh_key, open_store

LEFTOVERS = 100
KEY = SigningKey.of_seed(b"b" * 32)


def quiet(_line):
    pass


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.postgres
@pytest.mark.s3
def test_a_bucket_holds_backups_of_a_bucket(bucket_registry, swift_endpoint, fresh_bucket, processes, tmp_path):
    age = pytest.importorskip("pyrage", reason="needs pyrage: pip install 'deltareg[backup]'")
    pair = age.x25519.Identity.generate()
    bucket_registry.line("lora", "lora_v2")
    place_url, options = f"s3://{fresh_bucket()}/backups", swift_endpoint.options()
    place = open_store(place_url, options=options)
    engine, store = bucket_registry.registry.engine, bucket_registry.registry.store
    sealing = AgeKeys((str(pair.to_public()),))
    first, second = Archive(place, sealing), Archive(place, sealing)
    for archive in (first, second):
        take_backup(engine, store, archive, signer=KEY, keys={}, report=quiet)
    (name, old), (_, newest) = first.all()
    place.delete(name)
    old = old.model_copy(update={"taken_us": old.taken_us - 40 * 86_400_000_000})
    first.add_manifest(old, sign_manifest(old, KEY))
    leftovers = [fresh_key(sha256_of(bytes([at])), attempt=UUID(old.mark)) for at in range(LEFTOVERS)]
    for key in leftovers:  # as a killed backup leaves them
        place.write(key, [b"x" * 7])

    told = prune(Archive(place), keep_days=30, is_dry=True, report=quiet)
    assert (told.kept, told.gone) == ((newest.name,), (old.name,))
    assert told.objects >= LEFTOVERS
    settings = ("endpoint_url", "access_key_id", "secret_access_key", "region")
    environ = processes.environ("prune", **{f"DELTAREG_S3_{one.upper()}": getattr(options, one) for one in settings})
    command = (sys.executable, "-m", "deltareg.api", "prune-backups", "--from", place_url, "--keep-days", "30")
    running = processes.start("prune", *command, environ=environ)
    while running.status is None and len(dict(place.keys()).keys() & set(leftovers)) > LEFTOVERS * 0.8:
        time.sleep(0.01)
    assert running.kill()
    assert first.find().name == newest.name
    for key, _ in place.keys(f"blobs/{sha256_of(b'prune').hex}/"):  # as its lease would end it
        place.delete(key)
    ended = processes.start("prune", *command, environ=environ)
    assert ended.wait() == 0, ended.errors
    assert not dict(place.keys()).keys() & set(leftovers)

    opening = Archive(place, AgeKeys((), (str(pair),)))
    url = f"sqlite:///{tmp_path / 'restored.db'}"
    folder = open_store((tmp_path / "restored").as_uri())
    target = RestoreTarget(url, folder, lambda to: deltareg_migrations.upgrade(url, revision=to), lambda _keys: None)

    verify_backup(opening, opening.find(), quiet)
    _, checked = restore_backup(opening, opening.find(), target, quiet)

    assert checked.findings == ()
    assert len(second.sent) < 10 < len(first.sent)
