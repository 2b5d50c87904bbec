"""The tree: published vectors, and a verifier of somebody else (sigstore's, from Trillian's)."""

import hashlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore.errors import VerificationError

from deltareg.errors import IntegrityFailure
from deltareg.trail.merkle import (
    EMPTY,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
)

# From the reference tests of Certificate Transparency: leaves, and the root over the first of them.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Kept:
    """A tree whose hashes are kept as the database keeps them."""

    def __init__(self, size):
        self.data = [b"%d" % number for number in range(size)]
        self.levels = {0: [leaf_hash(each) for each in self.data]}
        self.roots = [EMPTY]
        frontier = Frontier()
        for leaf in self.levels[0]:
            for level, number, node in frontier.add(leaf):
                assert len(self.levels.setdefault(level, [])) == number
                self.levels[level].append(node)
            self.roots.append(frontier.root())

    def read(self, level, start, stop):
        assert stop - start <= 128
        return self.levels.get(level, [])[start:stop]


KEPT = Kept(1_300)


def plain_root(hashes):
    """Hash a list of leaves as RFC 6962 says it, word for word."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else EMPTY
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(plain_root(hashes[:split]), plain_root(hashes[split:]))


def rekor_entry(position, size, *, data=None, proof=None, root=None):
    """Say a proof as a bundle of sigstore says it."""
    found = SimpleNamespace(
        log_index=position,
        tree_size=size,
        hashes=inclusion_proof(KEPT.read, position, size) if proof is None else proof,
        root_hash=root or KEPT.roots[size],
    )
    body = KEPT.data[position] if data is None else data
    return SimpleNamespace(_inner=SimpleNamespace(inclusion_proof=found, canonicalized_body=body))


def test_roots_are_those_of_the_reference():
    frontier, roots = Frontier(), [EMPTY.hex()]
    for leaf in LEAVES:
        frontier.add(leaf_hash(leaf))
        roots.append(frontier.root().hex())

    assert roots == ROOTS


def test_a_path_is_that_of_the_reference():
    hashes = [leaf_hash(leaf) for leaf in LEAVES]

    def read(_level, start, stop):
        return hashes[start:stop]

    path = [each.hex() for each in inclusion_proof(read, 5, 8)]

    assert path == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        ROOTS[4],
    ]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 1_000, 1_300])
def test_a_tree_has_the_root_of_the_definition_however_it_is_kept(size):
    again = Frontier.of(KEPT.read, size)

    assert KEPT.roots[size] == again.root() == plain_root(KEPT.levels[0][:size])


@given(st.integers(1, 1_300), st.data())
def test_another_verifier_takes_every_proof_of_inclusion(size, data):
    position = data.draw(st.integers(0, size - 1))

    verify_merkle_inclusion(rekor_entry(position, size))
    check_inclusion(
        KEPT.levels[0][position], position, size, inclusion_proof(KEPT.read, position, size), root=KEPT.roots[size]
    )


@given(st.integers(2, 1_300), st.data())
def test_a_changed_proof_of_inclusion_is_refused_by_both(size, data):
    position = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(KEPT.read, position, size)
    place = data.draw(st.integers(0, len(proof) - 1))
    changed = data.draw(
        st.sampled_from(
            [
                [*proof[:place], hashlib.sha256(proof[place]).digest(), *proof[place + 1 :]],
                proof[:place] + proof[place + 1 :],
                [*proof, proof[place]],
            ]
        )
    )

    with pytest.raises(VerificationError):
        verify_merkle_inclusion(rekor_entry(position, size, proof=changed))
    with pytest.raises(IntegrityFailure):
        check_inclusion(KEPT.levels[0][position], position, size, changed, root=KEPT.roots[size])


@given(st.integers(0, 1_300), st.integers(0, 1_300))
def test_a_tree_is_proven_to_begin_with_each_that_it_was(one, other):
    old, new = sorted((one, other))
    proof = consistency_proof(KEPT.read, old, new)

    check_consistency(old, new, proof, old_root=KEPT.roots[old], new_root=KEPT.roots[new])
    if old:
        with pytest.raises(IntegrityFailure):
            check_consistency(old, new, proof, old_root=EMPTY, new_root=KEPT.roots[new])
        with pytest.raises(IntegrityFailure):
            check_consistency(old, new, [*proof, EMPTY], old_root=KEPT.roots[old], new_root=KEPT.roots[new])
    if proof:
        with pytest.raises(IntegrityFailure):
            check_consistency(old, new, proof[1:], old_root=KEPT.roots[old], new_root=KEPT.roots[new])


def test_hashes_that_are_gone_are_no_proof():
    with pytest.raises(IntegrityFailure, match="are missing in the database"):
        inclusion_proof(lambda level, start, stop: KEPT.read(level, start, stop)[1:], 3, 1_300)


def test_another_row_is_in_no_proof():
    with pytest.raises(VerificationError):
        verify_merkle_inclusion(rekor_entry(3, 900, data=b"another row"))
    with pytest.raises(IntegrityFailure):
        check_inclusion(leaf_hash(b"another row"), 3, 900, inclusion_proof(KEPT.read, 3, 900), root=KEPT.roots[900])
