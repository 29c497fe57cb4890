"""Seals: a signature over the end of the log, and proofs that a commit is under it.

    leaf      = SHA-256 of a zero byte and a commit's hash (its 32 bytes)
    node      = SHA-256 of a one byte, the left and the right node below it
    root      = of the tree over the commits that a seal covers (RFC 6962, section 2.1)
    signed    = "tespes head 1", newline, the canonical JSON of {first, hash, position, root}; Ed25519 (RFC 8032)

Whoever has the public key, an entry, its path and the seal needs neither the log nor TESPES to know that the entry is
what was written. A seal covers what the one before it does not, so all seals together cover the whole log up to the last.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tespes.events import canonical
from tespes.events.service import HeadSigned

STREAM: Final = "log:heads"
_DOMAIN: Final = b"tespes head 1\n"
_LEAF, _NODE = b"\x00", b"\x01"


def key(secret: bytes) -> Ed25519PrivateKey:
    """The signing key that a secret of any length stands for."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"tespes audit key " + secret).digest())


def public(key: Ed25519PrivateKey) -> str:
    """The public key, 32 bytes in hexadecimal."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def sealed(first: int, hashes: Sequence[str], key: Ed25519PrivateKey) -> HeadSigned:
    """The seal of the commits with these hashes, of which `first` is the position of the first."""
    position, top = first + len(hashes) - 1, root(hashes)
    signature = key.sign(signed(first, position, hashes[-1], top)).hex()
    return HeadSigned(first=first, position=position, hash=hashes[-1], root=top, key=public(key), signature=signature)


def signed(first: int, position: int, hash: str, root: str) -> bytes:  # noqa: A002 - as the event calls it
    """What is signed, see the module."""
    return _DOMAIN + canonical.dumps({"first": first, "hash": hash, "position": position, "root": root})


def is_signed(head: HeadSigned) -> bool:
    """Whether the signature is that of the key which the seal names. Whose key that is, is another question."""
    try:
        who = Ed25519PublicKey.from_public_bytes(bytes.fromhex(head.key))
        who.verify(bytes.fromhex(head.signature), signed(head.first, head.position, head.hash, head.root))
    except (InvalidSignature, ValueError, TypeError):  # a number may be too large to be signed
        return False
    return True


def root(hashes: Sequence[str]) -> str:
    """The top of the tree over these hashes, at least one; hexadecimal, as they are."""
    return _top([_leaf(each) for each in hashes]).hex()


def path(hashes: Sequence[str], index: int) -> tuple[str, ...]:
    """What leads from that one of the hashes to the root: the sibling at each level, from below."""
    return tuple(node.hex() for node in _path([_leaf(each) for each in hashes], index))


def reached(hash: str, index: int, size: int, path: Sequence[str]) -> str | None:  # noqa: A002 - as the entry calls it
    """The root to which the path leads from that hash, at that index of so many; None if it leads nowhere."""
    if not 0 <= index < size:
        return None
    node, last = _leaf(hash), size - 1
    for each in path:
        if last == 0:
            return None
        sibling = bytes.fromhex(each)
        if index % 2 or index == last:
            node = _node(sibling, node)
            while not index % 2 and index:  # the last of an uneven level goes up as it is
                index, last = index // 2, last // 2
        else:
            node = _node(node, sibling)
        index, last = index // 2, last // 2
    return node.hex() if last == 0 else None


def _path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    half = _half(len(leaves))
    if index < half:
        return [*_path(leaves[:half], index), _top(leaves[half:])]
    return [*_path(leaves[half:], index - half), _top(leaves[:half])]


def _top(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    half = _half(len(leaves))
    return _node(_top(leaves[:half]), _top(leaves[half:]))


def _half(count: int) -> int:
    """The largest power of two below that count."""
    return 1 << (count - 1).bit_length() - 1


def _leaf(commit_hash: str) -> bytes:
    return hashlib.sha256(_LEAF + bytes.fromhex(commit_hash)).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
