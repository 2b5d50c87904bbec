"""What a cold machine fetches of a version stays within the bound, whatever was pushed before it."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltareg.client.packs.cold_bound import plan_storage
from deltareg.client.packs.stored_pieces import ReusablePieces
from deltareg.codec import OrderedPool, PackEncoder, PieceSource, Reference
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.digest import Digest
from deltareg.identity.manifest import Manifest, ManifestFile
from deltareg.identity.pack_spans import GAP_BYTES, MOST_TIMES, cold_bytes
from deltareg.identity.storage_map import DEPTH_MAX, StorageMap
from tests.codec.samples import piece_of, reader

SIZES = (40, 700, 5_000, 30_000, 90_000)
"""Elements of the tensors: some smaller than the gaps that a pull reads over, some larger."""


@dataclass
class History:
    """Versions pushed one after another: their bytes, their maps, and all packs."""

    base: list[bytes]
    packs: dict[Digest, memoryview] = field(default_factory=dict)
    versions: list[tuple[list[bytes], StorageMap]] = field(default_factory=list)

    def push(self, tensors, *, with_base, with_earlier):
        """Store a version as a push does; gives its map."""
        stored, offered = ReusablePieces(), {}
        for _, storage in self.versions:
            refs = {pack.digest: pack for pack in storage.packs}
            for digest in storage.pieces:
                chain = storage.chain(digest)
                if chain.piece.chunks:
                    stored.add(chain, refs)
        before = self.versions[-1] if self.versions and with_earlier else None
        for number, data in enumerate(before[0] if before else ()):
            assert before is not None
            chain = before[1].chain(piece_of("F16", data).digest)
            if chain.piece.digest in stored and stored.chain(chain.piece.digest).depth < DEPTH_MAX:
                offered[number] = Reference(piece_of("F16", data), reader(data))
        sources = [
            self.source(number, data, offered.get(number), with_base=with_base) for number, data in enumerate(tensors)
        ]
        encoder = PackEncoder(plan_storage(sources, stored, workers=1, profile="default").encoded, workers=1)
        self.packs |= {pack.digest: pack.data for pack in encoder.packs()}
        storage = stored.storage_map(manifest_of(tensors), encoder.pieces, encoder.pack_refs)
        self.versions.append((tensors, storage))
        return storage

    def source(self, number, data, other, *, with_base):
        below = self.base[number]
        pair = (piece_of("F16", below), reader(below)) if with_base else (None, None)
        others = () if other is None or other.piece.digest == piece_of("F16", data).digest else (other,)
        return PieceSource(piece_of("F16", data), reader(data), pair[0], pair[1], others)

    def alone(self, tensors, *, with_base):
        """Give what a version takes that knows of no other one."""
        sources = [self.source(number, data, None, with_base=with_base) for number, data in enumerate(tensors)]
        encoder = PackEncoder(sources, workers=1)
        return sum(pack.data.nbytes for pack in encoder.packs())


def manifest_of(tensors):
    sha256 = Digest("sha256", "cc" * 32)
    pieces = [piece_of("F16", data) for data in tensors]
    files = (
        ManifestFile(f"{n}.bin", piece.size_bytes, sha256, piece, is_tensors=False) for n, piece in enumerate(pieces)
    )
    return Manifest("lora", "", True, None, {}, (), tuple(files))


def rebuilt(history, tensors, storage):
    base = {piece_of("F16", data).digest: reader(data) for data in history.base}

    def fetch(chunk):
        return history.packs[chunk.pack][chunk.offset : chunk.offset + chunk.length]

    with OrderedPool(1) as pool:
        rebuild = PieceRebuilder(storage, fetch, base, pool)
        return [b"".join(rebuild([piece_of("F16", data)])) for data in tensors]


steps = st.lists(
    st.tuples(
        st.sampled_from(["train", "train", "train little", "swap", "revert", "freeze some"]),
        st.integers(0, 99),
        st.sampled_from([0.0002, 0.002, 0.02, 0.3, 1.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(SIZES), min_size=1, max_size=8), steps, st.booleans())
def test_no_history_makes_a_cold_pull_dearer_than_the_bound(sizes, steps, with_base):
    chance = np.random.default_rng(len(sizes))
    base = [(chance.standard_normal(size) * 0.02).astype(np.float16).tobytes() for size in sizes]
    history, tensors = History(base), base
    for how, seed, share, with_earlier in steps:
        tensors = step(tensors, history, how, seed, share)

        storage = history.push(tensors, with_base=with_base, with_earlier=with_earlier)

        alone = history.alone(tensors, with_base=with_base)
        assert cold_bytes(manifest_of(tensors), storage) <= MOST_TIMES * alone + 1
        assert rebuilt(history, tensors, storage) == tensors
        assert all(storage.chain(digest).depth <= DEPTH_MAX for digest in storage.pieces)


def step(tensors, history, how, seed, share):
    """Make the next version of the one before."""
    chance = np.random.default_rng(seed)
    if how == "revert" and history.versions:
        return history.versions[seed % len(history.versions)][0]
    chosen = chance.random(len(tensors)) < (0.3 if how == "train little" else 1.0 if how == "train" else 0.5)
    if how == "swap":
        return [tensors[-1 - n] if len(tensors[-1 - n]) == len(data) else data for n, data in enumerate(tensors)]
    moved = []
    for data, is_trained in zip(tensors, chosen, strict=True):
        words = np.frombuffer(data, np.uint16).copy()
        hit = chance.random(words.size) < share
        words[hit] += chance.integers(1, 4, int(hit.sum())).astype(np.uint16)
        moved.append(words.tobytes() if is_trained else data)
    return moved


def test_small_steps_share_what_is_below_them():
    """Nothing is gained by a bound that shares nothing."""
    chance = np.random.default_rng(1)
    far = [chance.standard_normal(60_000).astype(np.float16).tobytes() for _ in range(4)]
    history = History([bytes(len(data)) for data in far])
    history.push(far, with_base=False, with_earlier=False)

    storage = history.push(step(far, history, "train", 3, 0.0005), with_base=False, with_earlier=True)

    own = sum(history.packs[pack.digest].nbytes for pack in storage.packs if pack not in history.versions[0][1].packs)
    assert own < history.alone(far, with_base=False) * 0.1


@pytest.mark.parametrize(("size", "least", "most"), [(700, 0, 4), (30_000, 20, 20)])
def test_equal_tensors_are_shared_where_those_between_need_not_be_read(size, least, most):
    chance = np.random.default_rng(1)
    assert 2 * 700 < GAP_BYTES < 2 * 30_000
    before, other = ([chance.standard_normal(size).astype(np.float16).tobytes() for _ in range(40)] for _ in "ab")
    history = History([bytes(len(data)) for data in before])
    first = history.push(before, with_base=False, with_earlier=False)

    storage = history.push(
        [data if n % 2 else other[n] for n, data in enumerate(before)], with_base=False, with_earlier=True
    )

    shared = [digest for digest, piece in storage.pieces.items() if first.pieces.get(digest) == piece]
    assert least <= len(shared) <= most


@pytest.mark.parametrize(
    ("shared", "others", "is_reached"), [(1_000, 20_000, False), (5_000, 20_000, True), (5_000, 600_000, False)]
)
def test_a_pack_of_another_version_is_used_if_it_spares_4_kb_and_a_hundredth_of_its_size(shared, others, is_reached):
    chance = np.random.default_rng(1)
    config, first, second = (
        chance.integers(0, 256, 2 * count, dtype=np.uint8).tobytes() for count in (shared, others, others)
    )
    history = History([bytes(len(config)), bytes(len(first))])
    below = history.push([config, first], with_base=False, with_earlier=False)

    storage = history.push([config, second], with_base=False, with_earlier=True)

    assert bool({pack.digest for pack in storage.packs} & {pack.digest for pack in below.packs}) == is_reached
    assert rebuilt(history, [config, second], storage) == [config, second]
