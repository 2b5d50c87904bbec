"""Backups of a registry on PostgreSQL and a bucket, into a bucket, encrypted, and back into a folder."""

import pytest

import deltareg_migrations
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.restore import RestoreTarget, restore_backup
from deltareg.service.backup.take import take_backup
from deltareg.service.backup.verify import verify_backup
from deltareg.signing.age_keys import AgeKeys
from deltareg.signing.keys import SigningKey
from deltareg.store import open_store

KEY = SigningKey.of_seed(b"b" * 32)


def quiet(_line):
    pass


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.postgres
@pytest.mark.s3
def test_a_bucket_holds_backups_of_a_bucket(bucket_registry, swift_endpoint, fresh_bucket, tmp_path):
    age = pytest.importorskip("pyrage", reason="needs pyrage: pip install 'deltareg[backup]'")
    pair = age.x25519.Identity.generate()
    bucket_registry.line("lora", "lora_v2")
    place = open_store(f"s3://{fresh_bucket()}/backups", options=swift_endpoint.options())
    engine, store = bucket_registry.registry.engine, bucket_registry.registry.store
    sealing = AgeKeys((str(pair.to_public()),))
    first, second = Archive(place, sealing), Archive(place, sealing)
    for archive in (first, second):
        take_backup(engine, store, archive, signer=KEY, keys={}, report=quiet)
    opening = Archive(place, AgeKeys((), (str(pair),)))
    url = f"sqlite:///{tmp_path / 'restored.db'}"
    folder = open_store((tmp_path / "restored").as_uri())
    target = RestoreTarget(url, folder, lambda to: deltareg_migrations.upgrade(url, revision=to), lambda _keys: None)

    verify_backup(opening, opening.find(), quiet)
    _, checked = restore_backup(opening, opening.find(), target, quiet)

    assert checked.findings == ()
    assert len(second.sent) < 10 < len(first.sent)
