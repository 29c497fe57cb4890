"""New ids, in the order in which they are made (UUID version 7, RFC 9562).

Random ids would touch another page of every index with each commit; ids that grow touch the last one. That doubles the
appends a disk takes.
"""

import os
import time

_RANDOM_BITS = 76


def new_id() -> str:
    """An id that nobody else makes, greater than those of milliseconds before."""
    milliseconds = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10)) & ((1 << _RANDOM_BITS) - 1)
    variant = chance & ~(0b11 << 62) | 0b10 << 62
    digits = f"{milliseconds << 80 | 7 << _RANDOM_BITS | variant:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
