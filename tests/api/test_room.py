"""A server whose disk is full says so to those who ask whether it is ready."""

import httpx
import pytest

from deltareg.api import room
from deltareg.api.health_checks import HealthChecks
from deltareg.api.room import DiskRoom
from deltareg.api.settings import ServerSettings
from deltareg.errors import DiskFull


def test_a_disk_with_room_is_fine_and_nothing_is_left_there(tmp_path):
    DiskRoom({"store": tmp_path}, least_bytes=1).check()

    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def nearly_full(monkeypatch):
    """Let any free space be too little."""
    monkeypatch.setattr(room, "_PART", 0.001)


@pytest.mark.usefixtures("nearly_full")
def test_a_disk_that_is_almost_full_is_named(tmp_path):
    found = DiskRoom({"database": tmp_path, "store": tmp_path}, least_bytes=1 << 62)

    with pytest.raises(DiskFull, match=r"the disk of the database has \d+ MB left"):
        found.check()


def test_a_folder_that_takes_nothing_is_named(tmp_path):
    with pytest.raises(DiskFull, match="the disk of the store takes nothing"):
        DiskRoom({"store": tmp_path / "absent"}, least_bytes=1).check()


def test_it_is_looked_at_now_and_then(tmp_path):
    now = [0.0]
    disks = DiskRoom({"store": tmp_path / "late"}, least_bytes=1, every_s=5, clock=lambda: now[0])
    with pytest.raises(DiskFull):
        disks.check()
    (tmp_path / "late").mkdir()

    now[0] = 4.0
    with pytest.raises(DiskFull):
        disks.check()
    now[0] = 6.0
    disks.check()


@pytest.mark.usefixtures("nearly_full")
def test_a_server_without_room_is_not_ready(local_registry, tmp_path):
    room = DiskRoom({"store": tmp_path}, least_bytes=1 << 62)
    local_registry.app.state.server.health = HealthChecks.of(local_registry.registry, room)

    answered = httpx.get(local_registry.url + "/readyz", verify=False)

    assert answered.status_code == 503
    assert "the disk of the store" in answered.json()["detail"]
    assert str(tmp_path) not in answered.text
    assert httpx.get(local_registry.url + "/livez", verify=False).status_code == 200


@pytest.mark.parametrize(
    ("database", "store", "names"),
    [
        (None, None, {"database", "store"}),
        ("postgresql+psycopg://u@h/d", "s3://bucket", set()),
        ("sqlite:////srv/my.db", "s3://bucket", {"database"}),
    ],
)
def test_only_disks_of_this_machine_are_looked_at(tmp_path, database, store, names):
    settings = ServerSettings(data_dir=tmp_path, database_url=database, store_url=store)

    found = settings.own_disks()

    assert set(found) == names
    assert found.get("store", tmp_path / "blobs") == tmp_path / "blobs"
    if database is None:
        assert found["database"] == tmp_path
