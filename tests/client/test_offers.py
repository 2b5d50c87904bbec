"""Which pieces a push need not send: what proven versions offer, found by marks of some of it."""

import random
from typing import cast

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.db.sql.document import unpack_map
from deltareg.digest import Digest
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import Chunk, StorageMap, StoredPiece
from deltareg.service.push.places import find_known, mark_of, marks_of
from deltareg.service.upkeep.recorded_pieces import offer_some_pieces
from tests.fixtures.registries import BOTH_DATABASES, SAMPLES
from tests.proving import prove_all, prover_of

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
SCOPE = "ns:team"


@pytest.fixture
def server(both_stacks):
    both_stacks.pushed(SAMPLES / "bases" / "tinyllama", line="proofs")
    return both_stacks


def stored(engine):
    """Give the only version: its manifest, its map, and the root of its base."""
    with read(engine) as conn:
        row = conn.execute(sa.select(t.versions)).one()
    return Manifest.decode(row.manifest), StorageMap.decode(unpack_map(row.storage_map, row.manifest)), row.base_root


def known(engine, digests, root, *, scope=SCOPE):
    with read(engine) as conn:
        return {digest: chain.encode() for digest, chain in find_known(conn, scope, digests, root).items()}


def recorded(engine, manifest, storage, root):
    """Record pieces one by one, as servers of the release before do; give their places."""
    chains = {piece: storage.chain(piece) for piece in manifest.pieces() if storage.pieces[piece].chunks}
    with write(engine) as conn:
        pack_ids = dict(conn.execute(sa.select(t.packs.c.digest, t.packs.c.id).where(t.packs.c.scope == SCOPE)).all())
        for piece, chain in chains.items():
            values = {
                "scope": SCOPE,
                "digest": str(piece),
                "base_root": "" if chain.outside is None else root,
                "entry": chain.encode(),
                "proven_at": 1,
            }
            piece_id = conn.execute(sa.insert(t.pieces).values(values).returning(t.pieces.c.id)).scalar_one()
            links = [{"piece_id": piece_id, "pack_id": pack_ids[str(pack)]} for pack in chain.packs]
            conn.execute(sa.insert(t.piece_packs), links)
    return {piece: chain.encode() for piece, chain in chains.items()}


@BOTH_DATABASES
def test_pushes_find_the_same_places_before_and_after_they_are_offered(server):
    owner, engine = server.client(("read", "push"), principal="owner"), server.registry.engine
    owner.push(LORA, "team/lora", base="base")
    prove_all(prover_of(server))
    manifest, storage, root = stored(engine)
    asked = manifest.pieces()
    offered = known(engine, asked, root)
    with write(engine) as conn:
        conn.execute(sa.delete(t.offers))
    before = recorded(engine, manifest, storage, root)
    assert known(engine, asked, root) == before

    while offer_some_pieces(server.registry):
        pass

    assert known(engine, asked, root) == offered == before
    assert known(engine, asked, root, scope="ns:other") == {}
    alone = {piece for piece in before if storage.chain(piece).outside is None}
    assert known(engine, asked, "blake3:" + "0" * 64).keys() == alone
    with read(engine) as conn:
        assert conn.execute(sa.select(t.pieces)).all() == []


@BOTH_DATABASES
@pytest.mark.parametrize(
    "change",
    [
        {"corrupt_at": 1},
        {"proven_revision": None},
        {"storage_revision": 2},  # other bytes, which nobody has proven
    ],
)
def test_what_is_not_proven_any_more_is_not_offered(server, change):
    owner, engine = server.client(("read", "push"), principal="owner"), server.registry.engine
    owner.push(LORA, "team/lora", base="base")
    prove_all(prover_of(server))
    manifest, _, root = stored(engine)
    assert known(engine, manifest.pieces(), root)

    with write(engine) as conn:
        conn.execute(sa.update(t.versions).values(change))

    assert known(engine, manifest.pieces(), root) == {}


class Drawn:
    """A manifest and a map of pieces of given sizes, as far as marks are made of them."""

    def __init__(self, sizes, seed=1):
        drawn = random.Random(seed)
        self.sizes = {Digest.parse(f"blake3:{drawn.getrandbits(256):064x}"): size for size in sizes}
        self.storage = {
            digest: StoredPiece(digest, None, (Chunk(digest, 0, 1, 1, size, 0),)) for digest, size in self.sizes.items()
        }

    def marks(self):
        return marks_of(cast(Manifest, self), StorageMap((), self.storage))

    def pieces(self):
        return self.storage


def test_each_of_few_pieces_is_marked():
    drawn = Drawn([1000] * 64)

    assert drawn.marks() == {mark_of(digest) for digest in drawn.sizes}


def test_of_many_pieces_a_draw_by_size_is_marked():
    drawn = Drawn([100_000] * 8 + [10] * 4_000)
    large = {mark_of(digest) for digest, size in drawn.sizes.items() if size == 100_000}

    marks = drawn.marks()

    assert len(marks) == 64
    assert large <= marks
    assert marks == drawn.marks()


def test_a_large_version_has_a_mark_for_each_four_mebibytes():
    assert len(Drawn([8 << 20] * 300).marks()) == 300
    assert len(Drawn([1 << 20] * 800).marks()) == 200


def test_what_is_sent_again_is_a_hundredth_of_a_version_at_most():
    """The expectation is 0.6 % of the bytes; counted over draws of what two versions have in common."""
    total, draws = 448, 40
    of_draws = [(Drawn([1000] * total, seed), shared) for seed in range(draws) for shared in (1, 7, 20, 100)]
    marked = {id(drawn): drawn.marks() for drawn, _ in of_draws}

    missed = 0.0
    for drawn, shared in of_draws:
        common = [mark_of(digest) for digest in drawn.sizes][:shared]  # the digests are random, so any do
        missed += 0 if marked[id(drawn)].intersection(common) else shared / total

    assert missed / len(of_draws) < 0.01
