"""Re-encode runs beside pushes, deletions and collections: races decided by a seed, bugs found."""

import random
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from deltareg.client.folders.folder import Folder, open_folder
from deltareg.client.folders.hashing import hash_folder
from deltareg.client.packs.stored_pieces import ReusablePieces, stored_of
from deltareg.client.packs.transfer import piece_sources, reader, references
from deltareg.client.push.version_before import EarlierVersion
from deltareg.codec import OrderedPool, PackEncoder
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.db import tables as t
from deltareg.db.lines.versions import content
from deltareg.db.session import create_engine, read, write
from deltareg.db.storage import packs as pack_queries
from deltareg.db.tables.metadata import metadata
from deltareg.delta.base_manifest import base_view, build_base_manifest
from deltareg.delta.delta_manifest import assess, build_delta_manifest
from deltareg.errors import BlobMissing, Blocked, Conflict, LeaseLost, NotFound, UploadClosed
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref
from deltareg.service.lines.versions import delete_version
from deltareg.service.push.ingest import complete_upload
from deltareg.service.push.ingest_base import register_base
from deltareg.service.push.proving import complete_proof
from deltareg.service.push.receive import receive_pack
from deltareg.service.push.reencode import complete_reencode, open_reencode
from deltareg.service.push.uploads import open_upload
from deltareg.service.registry import Registry
from deltareg.service.runs.flatten import flatten
from deltareg.service.runs.leases import claim_lease
from deltareg.service.upkeep import collect
from deltareg.wire import LeaseHold, LeaseRequest, ProofReport, ReencodeReport, UploadComplete, UploadOpen
from tests.client.checkpoints import write_run
from tests.service import rows
from tests.service.turns import Turns, TurnStore
from tests.signers import enrol, key_of, sign_work

QUICK, SEEDS, SOAKED = 6, 15, 60
GIVEN_UP = (UploadClosed, LeaseLost, Conflict, NotFound, Blocked)
TABLES = (
    t.lease_keys,
    t.verdict_bases,
    t.base_identities,
    t.form_packs,
    t.forms,
    t.offer_marks,
    t.offers,
    t.piece_packs,
    t.pieces,
    t.version_packs,
    t.base_packs,
    t.upload_packs,
    t.uploads,
    t.packs,
    t.verdicts,
    t.runs,
    t.lineage,
    t.channels,
    t.versions,
    t.deltas,
    t.base_figures,
    t.base_probes,
    t.bases,
)


@dataclass
class Checkpoint:
    """A version to be pushed: its files, and what it is."""

    folder: Folder
    manifest: Manifest

    @property
    def digest(self):
        return str(self.manifest.digest)


@dataclass
class Models:
    """A base and the checkpoints of a run of it, opened once for all races."""

    base: Folder
    base_manifest: Manifest
    checkpoints: list

    @property
    def view(self):
        return base_view(self.base_manifest)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    base_path, *paths = write_run(tmp_path_factory.mktemp("run"), 3)
    base = open_folder(base_path, purpose="base")
    hashed = hash_folder(base)
    manifest = build_base_manifest(
        headers=base.files.headers, files=hashed.files, digests=hashed.digests, config_text='{"model_type": "plain"}'
    )
    view, found = base_view(manifest), []
    for path in paths:
        folder = open_folder(path)
        own = hash_folder(folder)
        assessment = assess(folder.files, folder.tensors, view)
        described = build_delta_manifest(
            assessment, delta=folder.files, files=own.files, digests=own.digests, base=view
        )
        found.append(Checkpoint(folder, described))
    return Models(base, manifest, found)


class World:
    """Everybody who touches the bytes of a line, on one database and one store."""

    def __init__(self, engine, models, seed, *, mortality=0.01):
        self.turns = Turns(seed, mortality=mortality)
        self.registry = Registry(engine, TurnStore(self.turns))
        self.models, self.random, self.replaced = models, random.Random(seed), 0
        scopes = {"read", "push", "admin", "verify"}
        self.maker = rows.caller(engine, scopes=scopes)
        self.worker = rows.caller(engine, "w", scopes={"read", "verify"})
        self.other = rows.caller(engine, "p", scopes={"read", "verify"})
        opened = open_upload(
            self.registry,
            self.maker,
            UploadOpen(
                subject="base", target="base", manifest=models.base_manifest.encode().decode(), register_only=True
            ),
        )
        register_base(self.registry, self.maker, opened.id)
        for number in range(len(models.checkpoints)):
            self.push(number, at_hand=number != 1)
            self.prover()
        self.turns.watch(engine)

    def push(self, number, *, at_hand=True):
        """Push a checkpoint, with the base's bytes or without them."""
        one = self.models.checkpoints[number]
        opening = UploadOpen(subject="delta", target="lab/x", manifest=one.manifest.encode().decode(), base="base")
        for _ in range(3):
            upload = open_upload(self.registry, self.maker, opening)
            if upload.version is not None:
                return
            stored = stored_of(upload)
            earlier = self.models.checkpoints[number - 1] if number and at_hand else None
            try:
                storage = self.send(self.maker, upload, one, stored, earlier, at_hand=at_hand)
                report = UploadComplete(storage_map=storage.encode().decode())
                complete_upload(self.registry, self.maker, upload.id, report)
            except GIVEN_UP:
                continue
            return

    def send(self, caller, upload, one, stored, earlier, *, at_hand=True):
        """Encode against the base and an earlier checkpoint, where it is stored; send the packs."""
        own, others = self.models, {}
        pairs = references(one.folder.tensors, own.view, own.base.tensors) if at_hand else {}
        storage = None if earlier is None else self.storage_of(earlier.digest)
        if storage is not None:
            found = EarlierVersion(earlier.manifest, storage, earlier.folder)
            others = found.references(one.manifest, stored)
        sources = piece_sources(one.folder, one.manifest, pairs, others)
        wanted = [source for source in sources if source.piece.digest not in stored]
        encoder = PackEncoder(wanted, workers=1)
        for pack in encoder.packs():
            receive_pack(
                self.registry, caller, upload.id, number=pack.number, digest=pack.digest, body=[bytes(pack.data)]
            )
        return stored.storage_map(one.manifest, encoder.pieces, encoder.pack_refs)

    def storage_of(self, digest):
        """Give the map of a version that is there, as it is now."""
        query = sa.select(t.versions.c.id).where(
            t.versions.c.manifest_digest == digest, t.versions.c.deleted_at.is_(None)
        )
        with read(self.registry.engine) as conn:
            found = conn.execute(query).scalar()
            raw = None if found is None else content(conn, found).storage_map
        return None if raw is None else StorageMap.decode(raw)

    def reencoder(self):
        for _ in range(4):
            key = enrol(self.registry.engine, self.worker.principal_id, self.worker.principal)
            request = LeaseRequest(worker="w", what=["reencode"], key=str(key.public))
            # Some leases run out at once: whoever asks next takes the run away.
            lease_s = self.random.choice([0, 60, 60])
            grant = claim_lease(self.registry, self.worker, request, lease_s=lease_s)
            if grant is None:
                continue
            try:
                self.reencode(grant)
            except GIVEN_UP:
                continue

    def reencode(self, grant):
        hold = LeaseHold(run=grant.run, fence=grant.fence)
        upload = open_reencode(self.registry, self.worker, hold)
        digests = [one.digest for one in self.models.checkpoints]
        number = digests.index(grant.digest)
        is_flat = grant.against == "base" or number == 0
        earlier = None if is_flat else self.models.checkpoints[number - 1]
        one = self.models.checkpoints[number]
        storage = self.send(self.worker, upload, one, ReusablePieces(), earlier)
        report = ReencodeReport(fence=grant.fence, upload=upload.id, storage_map=storage.encode().decode())
        report = sign_work(grant, report, key_of(self.worker.principal))
        done = complete_reencode(self.registry, self.worker, grant.run, report)
        if done.proof_run:
            self.prover(only=done.proof_run)

    def prover(self, *, only=""):
        """Prove what waits for it: nobody lies here, and nothing is encoded against a claim."""
        for _ in range(1 if only else 6):
            key = enrol(self.registry.engine, self.other.principal_id, self.other.principal)
            request = LeaseRequest(worker="p", what=["prove"], key=str(key.public), run=only)
            grant = claim_lease(self.registry, self.other, request, lease_s=60)
            if grant is None:
                continue
            report = ProofReport(fence=grant.fence, storage_revision=grant.storage_revision, pieces=1)
            report = sign_work(grant, report, key)
            try:
                found = complete_proof(self.registry, self.other, grant.run, report)
            except GIVEN_UP:
                continue
            self.replaced += found.form is not None and found.proof == "proven"

    def flattener(self):
        for _ in range(4):
            self.of_some_version(flatten)

    def deleter(self):
        for _ in range(2):
            self.of_some_version(delete_version)
            self.push(self.random.randrange(3))

    def of_some_version(self, do):
        with read(self.registry.engine) as conn:
            numbers = sa.select(t.versions.c.number).where(t.versions.c.deleted_at.is_(None))
            found = sorted(conn.execute(numbers).scalars())
        if found:
            try:
                do(self.registry, self.maker, Ref.parse(f"lab/x:v{self.random.choice(found)}"))
            except GIVEN_UP:
                return

    def collector(self):
        for _ in range(4):
            # Mostly one that lets uploads be, or hardly any would come to its end.
            grace_s = self.random.choice([0, 3600, 3600])
            engine, store = self.registry.engine, self.registry.store
            # Former forms keep nothing: they would hide what a version does not name itself.
            collect.run(engine, store, grace_s=grace_s, keep_forms_s=0)

    def race(self):
        """Run everybody to the end or to death; give what was lost."""
        errors = self.turns.run(
            self.reencoder, self.reencoder, self.flattener, self.deleter, self.collector, self.prover
        )
        assert errors == []
        collect.run(self.registry.engine, self.registry.store, grace_s=0, keep_forms_s=0)
        return list(self.lost())

    def lost(self):
        """Name the versions that cannot be rebuilt from their maps any more."""
        own = self.models
        at_hand = {record.digest: reader(own.base.tensors[name].read()) for name, record in own.view.tensors.items()}
        for one in own.checkpoints:
            storage = self.storage_of(one.digest)
            if storage is None:
                continue
            pieces = one.manifest.pieces().values()
            try:
                with OrderedPool(1) as pool:
                    for _ in PieceRebuilder(storage, self.fetch, at_hand, pool)(pieces):
                        pass
            except BlobMissing:
                yield one.digest

    def fetch(self, chunk):
        with read(self.registry.engine) as conn:
            keys = pack_queries.physical_keys(conn, rows.SCOPE, [str(chunk.pack)])
        if str(chunk.pack) not in keys:
            raise BlobMissing(str(chunk.pack))
        key, _ = keys[str(chunk.pack)]
        stop = chunk.offset + chunk.length
        return b"".join(self.registry.store.read(key, chunk.offset, stop))


def _holding_on(tables):
    """Give the tables that refer to some of these or to each other, what refers to others first."""
    found = set(tables)
    for table in metadata.sorted_tables:
        if any(key.column.table in found for key in table.foreign_keys):
            found.add(table)
    return [one for one in reversed(metadata.sorted_tables) if one in found - set(tables)]


def cleared(url):
    """Give an engine on a database, emptied."""
    engine = create_engine(url)
    with write(engine) as conn:
        for table in (*_holding_on(TABLES), *TABLES):
            with rows.unguarded(conn, table):
                conn.execute(sa.delete(table))
    return engine


def test_no_interleaving_loses_a_version(database_url, models):
    is_quick = database_url.startswith("sqlite")  # the turns are the same on both
    race_all(database_url, models, range(0 if is_quick else QUICK // 2, QUICK))


@pytest.mark.soak
def test_no_interleaving_of_many_loses_a_version(database_url, models):
    race_all(database_url, models, range(QUICK // 2, SEEDS + SOAKED))


def race_all(database_url, models, seeds):
    replaced = 0
    for seed in seeds:
        world = World(cleared(database_url), models, seed)

        lost = world.race()

        assert lost == [], f"seed {seed}"
        replaced += world.replaced
        world.registry.engine.dispose()
    assert replaced >= len(seeds) / 2


def test_a_run_that_forgets_to_name_its_packs_is_found_out(sqlite_url, models, monkeypatch):
    """The harness has teeth: a map that is replaced without its packs loses them to collection."""

    def forget(conn, version_id, pack_ids):
        conn.execute(sa.delete(t.version_packs).where(t.version_packs.c.version_id == version_id))

    monkeypatch.setattr(pack_queries, "reference_version_anew", forget)

    found = any(World(cleared(sqlite_url), models, seed).race() for seed in range(SEEDS))

    assert found


@pytest.mark.soak
@pytest.mark.parametrize("is_wrong", [False, True])
def test_a_run_that_names_only_what_it_sent_is_found_out(sqlite_url, models, monkeypatch, is_wrong):
    """The harness has teeth: packs of reference pieces are needed as well."""
    anew = pack_queries.reference_version_anew

    def only_newest(conn, version_id, pack_ids):
        anew(conn, version_id, sorted(pack_ids)[-1 if is_wrong else 0 :])

    monkeypatch.setattr(pack_queries, "reference_version_anew", only_newest)
    world = World(cleared(sqlite_url), models, 1, mortality=0)
    world.reencoder()  # the second against the first, which then goes
    delete_version(world.registry, world.maker, Ref.parse("lab/x:v1"))
    collect.run(world.registry.engine, world.registry.store, grace_s=0, keep_forms_s=0)

    assert world.replaced
    assert bool(list(world.lost())) == is_wrong
