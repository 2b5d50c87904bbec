"""What a push refuses, a pull refuses: a registry that took it in nevertheless hands it to nobody."""

import json

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines import versions as queries
from deltareg.db.session import read, write
from deltareg.db.sql.document import pack_documents
from deltareg.errors import DeltaregError, Refused
from deltareg.identity.manifest import Manifest
from tests.fixtures.registries import SAMPLES, SCOPES

REF = "team/lora:v1"
CODE = ["modeling.py", "weights.pth", "deltareg.toml", "data.zip", "run.sh", "a/custom_generate.py"]


@pytest.fixture
def tampered(local_registry):
    """Give a function that adds files to a version in the database, as an intruder would."""
    local_registry.line("lora")
    engine = local_registry.registry.engine

    def add(*names):
        with read(engine) as conn:
            row = conn.execute(sa.select(t.versions.c.id, t.versions.c.number)).one()
            content = queries.content(conn, row.id)
        document = json.loads(content.manifest)
        (config,) = (file for file in document["files"] if not file["is_tensors"])
        added = [config | {"path": name} for name in names]
        document["files"] = sorted([*document["files"], *added], key=lambda file: file["path"])
        raw = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        packed = pack_documents(raw, content.storage_map)
        with write(engine) as conn:
            for trigger in conn.scalars(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                conn.execute(sa.text(f'DROP TRIGGER "{trigger}"'))
            stored = {"manifest": packed.manifest, "storage_map": packed.storage_map}
            values = {name: sa.literal(data, sa.LargeBinary) for name, data in stored.items()}
            digest = str(Manifest.digest_of(raw))
            conn.execute(
                sa.update(t.versions).where(t.versions.c.id == row.id).values(manifest_digest=digest, **values)
            )
        return local_registry.client(SCOPES, principal="eve")

    return add


WAYS = {
    "folder": lambda client, to, _: client.pull(REF, to=to / "out"),
    "cache": lambda client, *_: client.pull(REF),
    "materialize": lambda client, to, _: client.materialize(REF, to / "out", base=str(SAMPLES / "bases" / "tinyllama")),
    "lock": lambda client, to, _: client.folders.lock(to / "delta.lock", add=[(REF, str(to / "out"))]),
    "file": lambda client, to, name: client.versions.files(REF).copy(name, to / name.rpartition("/")[2]),
}


@pytest.mark.parametrize(("way", "name"), [*((way, CODE[0]) for way in WAYS), *(("folder", name) for name in CODE[1:])])
def test_what_a_push_refuses_is_written_nowhere(tampered, tmp_path, monkeypatch, name, way):
    monkeypatch.chdir(tmp_path)
    client = tampered(name)

    with pytest.raises(Refused) as refused:
        WAYS[way](client, tmp_path, name)

    assert name in refused.value.problems[0].message
    assert "--include" in refused.value.problems[0].fix
    assert list(tmp_path.rglob(f"*{name.rpartition('/')[2]}*")) == []


def test_the_other_files_come_where_they_are_named(tampered, tmp_path):
    client = tampered("modeling.py")

    client.pull(REF, to=tmp_path / "out", include=["*.safetensors", "*.json"])

    assert "modeling.py" not in {path.name for path in (tmp_path / "out").iterdir()}
    with pytest.raises(Refused):
        client.pull(REF, to=tmp_path / "code", include=["modeling.py"])


@pytest.mark.parametrize(
    "names",
    [
        ("../README.md",),
        ("/etc/README.md",),
        ("a/../../README.md",),
        (".ssh/README.md",),
        ("..\\README.md",),
        ("nul.md",),
        ("COM1.json",),
        ("README.md", "readme.MD"),
        ("a.md", "a.md/b.md"),
        ("a/b/c/d/README.md",),
        ("README.md.",),
    ],
)
def test_no_name_leads_out_of_the_folder_or_means_two_files(tampered, tmp_path, names):
    client = tampered(*names)
    before = {path for path in tmp_path.parent.rglob("*") if path.is_file()}

    with pytest.raises(DeltaregError):
        client.pull(REF, to=tmp_path / "in" / "out")

    assert not (tmp_path / "in" / "out").exists()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".md"]
    assert before
