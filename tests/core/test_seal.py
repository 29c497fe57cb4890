"""Seals: what RFC 6962 says of the tree, and that only what was sealed is under a seal."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tespes.events import seal

HASHES = [hashlib.sha256(bytes([number])).hexdigest() for number in range(64)]
KEY = seal.key(b"a secret of the tests")


def test_the_tree_is_that_of_certificate_transparency() -> None:
    """Known answers of RFC 6962: a leaf is hashed behind a zero byte, a node behind a one byte."""
    leaves = [hashlib.sha256(b"\x00" + bytes.fromhex(each)).digest() for each in HASHES[:3]]
    pair = hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    assert seal.root(HASHES[:1]) == leaves[0].hex()
    assert seal.root(HASHES[:2]) == pair.hex()
    assert seal.root(HASHES[:3]) == hashlib.sha256(b"\x01" + pair + leaves[2]).hexdigest()


@given(st.integers(1, 64), st.data())
def test_a_path_leads_from_its_hash_to_the_root_and_from_no_other(size: int, data: st.DataObject) -> None:
    """Whatever the size of the tree; neither another place in it nor another hash has the same path."""
    hashes = HASHES[:size]
    index = data.draw(st.integers(0, size - 1))
    path = seal.path(hashes, index)
    assert seal.reached(hashes[index], index, size, path) == seal.root(hashes)
    other = data.draw(st.integers(0, size - 1))
    if other != index:
        assert seal.reached(hashes[index], other, size, path) != seal.root(hashes)
        assert seal.reached(hashes[other], index, size, path) != seal.root(hashes)


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (4, 4), (0, 0)])
def test_a_place_outside_of_the_tree_leads_nowhere(index: int, size: int) -> None:
    """An export that was edited may claim anything."""
    assert seal.reached(HASHES[0], index, size, seal.path(HASHES[:4], 0)) is None


def test_a_path_that_is_too_long_or_too_short_leads_nowhere() -> None:
    """Each level of the tree has one step."""
    path = seal.path(HASHES[:4], 1)
    assert seal.reached(HASHES[1], 1, 4, path[:-1]) is None
    assert seal.reached(HASHES[1], 1, 4, (*path, HASHES[9])) is None


def test_a_seal_is_good_only_as_it_was_signed() -> None:
    """Each of its parts is signed."""
    head = seal.sealed(5, HASHES[:3], KEY)
    assert (head.first, head.position, head.hash, head.key) == (5, 7, HASHES[2], seal.public(KEY))
    assert seal.is_signed(head)
    others = (
        replace(head, first=4),
        replace(head, position=8),
        replace(head, hash=HASHES[3]),
        replace(head, root=HASHES[3]),
        replace(head, key=seal.public(seal.key(b"another"))),
        replace(head, signature=head.signature[2:] + "00"),
        replace(head, signature="no hexadecimal"),
    )
    assert not any(map(seal.is_signed, others))


def test_what_is_signed_never_changes() -> None:
    """Signatures must verify for ever: these bytes are the contract."""
    assert seal.signed(1, 2, "aa", "bb") == b'tespes head 1\n{"first":1,"hash":"aa","position":2,"root":"bb"}'
