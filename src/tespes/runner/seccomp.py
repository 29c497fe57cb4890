"""The system calls that a sandbox does not have, as a program for the kernel's filter (Linux: seccomp_filter, BPF).

All of them work without any privilege, and lead out of what namespaces separate: the keys of Pulsar's session, the input
of a terminal, or into parts of the kernel that were meant for root, which a user namespace of one's own makes reachable.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    Instruction = Tuple[int, int, int, int]

_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # in struct seccomp_data; the low halves, on little-endian
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_X32 = 0x40000000  # system calls of x86-64 with short pointers have their own numbers, from here on
_NEW_USER_NAMESPACE = 0x10000000
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

# Denied: add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd, io_uring_setup. The others by their arguments.
_X86_64 = (0xC000003E, (248, 249, 250, 321, 298, 323, 425), {"clone": 56, "unshare": 272, "clone3": 435, "ioctl": 16})
_I386 = (0x40000003, (286, 287, 288, 357, 336, 374, 425), {"clone": 120, "unshare": 310, "clone3": 435, "ioctl": 54})
_ARM_64 = (0xC00000B7, (217, 218, 219, 280, 241, 282, 425), {"clone": 220, "unshare": 97, "clone3": 435, "ioctl": 29})
_OF_MACHINES = {"x86_64": (_X86_64, _I386), "aarch64": (_ARM_64,)}


def program(machine: str) -> Optional[bytes]:
    """The filter for what `uname -m` says, as an array of struct sock_filter; None for machines that are not known here."""
    architectures = _OF_MACHINES.get(machine)
    if architectures is None:
        return None
    instructions: List[Instruction] = []
    for identity, denied, numbers in architectures:
        block = _block(denied, numbers)
        instructions += [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_IF_EQUAL, 0, len(block), identity), *block]
    instructions.append(_answer(_ERROR | _EPERM))  # whatever else the processor can run
    return b"".join(struct.pack("<HBBI", *each) for each in instructions)


def _block(denied: Tuple[int, ...], numbers: Dict[str, int]) -> List[Instruction]:
    """For one architecture, to its end: every path of it answers."""
    number = (_LOAD, 0, 0, _NUMBER_AT)
    block: List[Instruction] = [number, (_IF_AT_LEAST, 0, 1, _X32), _answer(_ERROR | _EPERM)]
    for each in denied:
        block += [(_IF_EQUAL, 0, 1, each), _answer(_ERROR | _EPERM)]
    # Its flags are behind a pointer, where no filter can look: as if the kernel were old, so that clone is used instead.
    block += [(_IF_EQUAL, 0, 1, numbers["clone3"]), _answer(_ERROR | _ENOSYS)]
    for name in ("clone", "unshare"):
        block += [(_IF_EQUAL, 0, 4, numbers[name]), (_LOAD, 0, 0, _FIRST_ARGUMENT_AT)]
        block += [(_IF_ANY_BIT, 0, 1, _NEW_USER_NAMESPACE), _answer(_ERROR | _EPERM), _answer(_ALLOW)]
    block += [(_IF_EQUAL, 0, 5, numbers["ioctl"]), (_LOAD, 0, 0, _FIRST_ARGUMENT_AT + 8)]
    for request in _TERMINAL_INPUT:
        block += [(_IF_EQUAL, 0, 1, request), _answer(_ERROR | _EPERM)]
    return [*block, _answer(_ALLOW)]


def _answer(value: int) -> Instruction:
    return (_RETURN, 0, 0, value)
