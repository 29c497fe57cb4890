"""What the sandbox promises, as attacks on it (design of the sandbox: docs/operations.md, Runtimes).

An attack is a Python program that ends with 0 if it worked. Most are tried outside of the sandbox too, as the user that
runs the tests: an attack that works nowhere proves nothing.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from runner_at_work import TOKEN, Tespes, file, plan, shell

from tespes.runner import seccomp

Start = Callable[..., Any]
PYTHON = "/usr/bin/python3"  # the node's own: what is elsewhere is not in the sandbox
PRELUDE = """
import ctypes, errno, fcntl, glob, mmap, os, pty, socket, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
def allowed(result):  # a system call got past the filter, whatever the kernel then found wrong with it
    return result >= 0 or ctypes.get_errno() != errno.EPERM
def ends(worked):
    sys.exit(0 if worked else 1)
"""


def works(attack: str) -> bool:
    """Outside."""
    return subprocess.run([PYTHON, "-c", PRELUDE + attack], capture_output=True, check=False).returncode == 0


async def that_worked(attacks: dict[str, str], tespes: Tespes, start: Start, **changes: Any) -> set[str]:
    """Inside: each attack is an executor of one task."""
    executors = [{"command": [PYTHON, "-c", PRELUDE + attack], "ignore_error": True} for attack in attacks.values()]
    tespes.plan = plan(*executors, **changes)
    line = await (await start(tespes.url)).ended(within_s=60)
    assert line["outcome"] == "succeeded", line["reason"]
    codes = [ended["exit_code"] for ended in line["executors"]]
    assert set(codes) <= {0, 1}, line["executors"]
    return {name for name, code in zip(attacks, codes, strict=True) if code == 0}


def reads(path: object) -> str:
    return f"open({str(path)!r}, 'rb').read(1)"


async def test_nothing_of_the_node_can_be_read(tespes: Tespes, start: Start, tmp_path: Path) -> None:
    """Pulsar's settings, another job's files, the state directory, the system's secrets; its own job's bundle and order."""
    secrets = {name: tmp_path / name for name in ("app.yml", "state/log.sqlite3", "staging/other-job/working/result")}
    for path in secrets.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    attacks = {name: reads(path) for name, path in secrets.items()}
    attacks |= {f"{name} by way of the first process": reads(f"/proc/1/root{path}") for name, path in secrets.items()}
    attacks |= {path: reads(path) for path in ("/etc/shadow", "/etc/hostname", "/proc/keys", "/proc/kallsyms")}
    attacks["/root"] = "os.listdir('/root')"
    attacks["the bundle"] = reads(tmp_path / "bundle.zip")
    attacks["the job's directory"] = f"os.listdir({str(tmp_path / 'job0')!r})"
    if os.geteuid() == 0:
        assert [name for name in attacks if not works(attacks[name]) and "first process" not in name] == ["the job's directory"]
    told = "b''.join(open(each, 'rb').read() for name in ('cmdline', 'environ') for each in glob.glob(f'/proc/[0-9]*/{name}'))"
    halves = f"{TOKEN[:9]!r}.encode() + {TOKEN[9:]!r}.encode()"  # so that the attack does not find itself
    attacks["the token"] = f"ends({halves} in {told})"
    assert await that_worked(attacks, tespes, start) == set()


async def test_nothing_on_the_network_can_be_reached(tespes: Tespes, start: Start) -> None:
    """With the network none: not the broker, nor any port of the node, nor a socket without a file, nor the world."""
    servers = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
    servers[1].bind(f"\0tespes-test-{os.getpid()}")
    servers[1].listen()
    port = servers[0].getsockname()[1]
    attacks = {
        "loopback": f"socket.create_connection(('127.0.0.1', {port}), 2)",
        "the node's own name": f"socket.create_connection((socket.gethostname(), {port}), 2)",
        "abstract socket": f"socket.socket(socket.AF_UNIX).connect('\\0tespes-test-{os.getpid()}')",
        "the world": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))",
    }
    assert works(attacks["loopback"])
    assert works(attacks["abstract socket"])
    assert await that_worked(attacks, tespes, start) == set()
    for server in servers:
        server.close()


async def test_no_other_process_can_be_seen(tespes: Tespes, start: Start) -> None:
    """Neither by its number, nor by its shared memory."""
    own = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)
    memory = libc.shmget(own, 4096, 0o1600)
    attacks = {
        "signal": f"os.kill({own}, 0)",
        "trace": f"ends(allowed(libc.ptrace(0x4206, {own}, 0, 0)) and ctypes.get_errno() != errno.ESRCH)",  # PTRACE_SEIZE
        "list": "ends(len(glob.glob('/proc/[0-9]*')) > 3)",
        "memory": f"ends(libc.shmget({own}, 4096, 0) >= 0)",
    }
    try:
        assert {name for name in attacks if not works(attacks[name])} <= {"trace"}  # a node may forbid that to everybody
        assert await that_worked(attacks, tespes, start) == set()
    finally:
        libc.shmctl(memory, 0, None)


async def test_nothing_of_the_node_can_be_written(tespes: Tespes, start: Start, tmp_path: Path) -> None:
    """Only the task's own directories, and memory that ends with the sandbox. What the kernel offers is not writable."""
    tespes.inputs[0] = b"input"
    paths = ["/usr/x", "/bin/x", "/lib/x", "/etc/passwd", "/etc/ld.so.cache", "/data/in", f"{tmp_path}/x", "/sys/x"]
    kernel = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger"]
    attacks = {path: f"os.open({path!r}, os.O_WRONLY | os.O_CREAT)" for path in [*paths, *kernel]}
    attacks["a device"] = "os.mknod('/tmp/disk', stat.S_IFBLK | 0o600, os.makedev(8, 0)); os.open('/tmp/disk', os.O_RDONLY)"
    changes = {"inputs": [file(0, "/data/in")], "outputs": [file(0, "/data/out")]}
    assert await that_worked(attacks, tespes, start, **changes) == set()
    assert not (tmp_path / "x").exists()


PLANTS = """
import os, socket
os.chdir('/out')
for name, target in TARGETS.items():
    os.symlink(target, name)
os.mkfifo('pipe')
socket.socket(socket.AF_UNIX).bind('socket')
open('new\\nline "%2e%2e"', 'w').write('odd')
open('kept', 'w').write('kept')
os.symlink('.', 'round')
os.rename('swapped', 'away')
os.symlink('/etc', 'swapped')
os.mkdir('looks'); os.symlink('../../../../../../../../etc', 'looks/etc')
for _ in range(1100):
    os.mkdir('d'); os.chdir('d')
"""


async def test_nothing_outside_of_the_tasks_files_is_stored(tespes: Tespes, start: Start, tmp_path: Path) -> None:
    """The runner stores what a task left, and may read more than the task could: links lead it nowhere else."""
    (tmp_path / "secret").write_text("secret")
    places = {"absolute": f"{tmp_path}/secret", "directory": "/etc", "root": "/", "process": "/proc/self/environ"}
    places |= {"first": "/proc/1/root/etc/shadow", "up": "../" * 20 + str(tmp_path)[1:] + "/secret", "node": "../../inputs/0"}
    places |= {"shared": "../" * 2 + "shared", "descriptor": "/dev/fd/0", "long": "up/" * 1000}
    tespes.plan = plan(
        {"command": [PYTHON, "-c", PLANTS.replace("TARGETS", repr(places))]},
        inputs=[file(0, "/in")],
        outputs=[
            file(0, "/out", type="DIRECTORY"),
            file(1, "/out/*/passwd", is_pattern=True),
            file(2, "/out/swapped/sub", type="DIRECTORY"),
            file(3, "/out/swapped/p/*", is_pattern=True),
        ],
    )
    tespes.inputs[0] = b"input"
    line = await (await start(tespes.url)).ended(within_s=60)
    assert line["outcome"] == "system_failed"
    assert "leads outside the task's files" in line["reason"]
    assert set(tespes.stored.values()) == {b"odd", b"kept"}, tespes.stored
    assert set(tespes.stored) == {(0, '/out/new\nline "%2e%2e"'), (0, "/out/kept")}
    left_out = {note.split(": ")[0] for note in line["notes"] if note.endswith("was left out")}
    assert {f"output /out/{name}" for name in [*places, "pipe", "socket", "round", "swapped", "looks/etc"]} <= left_out


def called(number: int) -> str:
    """An attack by a system call that the filter denies: EPERM comes before any look at its arguments."""
    return f"ends(allowed(libc.syscall({number}, 0, 0, 0, 0, 0)))"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its system calls have other numbers elsewhere")
async def test_no_privilege_can_be_gained(tespes: Tespes, start: Start) -> None:
    """Not by another user or namespace, by mounts, by the keys of Pulsar's session, nor by a terminal."""
    new_user = 0x10000000
    code = "b'\\xb8\\x1e\\x01\\x00\\x00\\xcd\\x80\\xc3'"  # mov eax, 286 (add_key of 32 bits); int 0x80; ret
    everywhere = {
        "add_key": called(248),
        "request_key": called(249),
        "keyctl": called(250),
        "perf_event_open": called(298),
        "bpf": called(321),
        "a key by a call of 32 bits": (
            "area = mmap.mmap(-1, 4096, prot=7); area.write(" + code + ");"
            "place = ctypes.addressof(ctypes.c_char.from_buffer(area)); ends(ctypes.CFUNCTYPE(ctypes.c_int)(place)() != -1)"
        ),
        "a user namespace": f"ends(libc.unshare({new_user}) == 0)",
        "a user namespace by clone": f"ends(libc.syscall(56, {new_user} | 17, 0, 0, 0, 0) >= 0)",
        "a user namespace by clone3": "ends(libc.syscall(435, 0, 0) >= 0 or ctypes.get_errno() != errno.ENOSYS)",
        "privileges by a program": "ends(libc.prctl(39, 0, 0, 0, 0) == 0)",  # PR_GET_NO_NEW_PRIVS
    }
    inside = {
        "another user": "os.setuid(0)",
        "another group": "os.setgroups([0])",
        "a mount": "ends(libc.mount(b'x', b'/tmp', b'tmpfs', 0, 0) == 0)",
        "a mount namespace": "ends(libc.unshare(0x20000) == 0)",
        "another root": "os.chroot('/tmp')",
        "capabilities": "ends(any(int(line.split()[1], 16) for line in open('/proc/self/status') if line.startswith('Cap')))",
        "terminal input": "pty.openpty(); ends(allowed(libc.ioctl(pty.openpty()[1], 0x5412, b'x')))",
        "the console": "ends(allowed(libc.ioctl(0, 0x541c, b'x')))",
    }
    if os.geteuid() == 0:
        assert {name for name, attack in everywhere.items() if not works(attack)} == set()
    assert await that_worked({**everywhere, **inside}, tespes, start) == set()


async def test_a_program_that_is_root_s_own_gives_no_privilege(tespes: Tespes, start: Start) -> None:
    """Under root's Pulsar the task's files are root's: one with the set-user-id bit must not be more than any other."""
    script = "cp /usr/bin/id /vol/id; chmod 4755 /vol/id; /vol/id -u; grep -c 'NoNewPrivs:.1' /proc/self/status"
    tespes.plan = plan({"command": shell(script)}, volumes=["/vol"])
    line = await (await start(tespes.url)).ended()
    assert line["executors"][0]["stdout"] == "1000\n1\n"


async def test_no_process_is_left_behind(tespes: Tespes, start: Start) -> None:
    """Whatever a task starts ends with its command: also what fled into a session of its own."""
    script = (
        "(setsid sh -c 'sleep 34.75 & exec sleep 34.75' >/dev/null 2>&1 &); sleep 0.2; cat /proc/[0-9]*/comm | grep -cx sleep"
    )
    tespes.plan = plan({"command": shell(script)})
    line = await (await start(tespes.url)).ended()
    assert line["executors"][0]["stdout"] == "2\n"
    assert not [each for each in psutil.process_iter(["cmdline"]) if "34.75" in (each.info["cmdline"] or ())]


async def test_threads_and_processes_work(tespes: Tespes, start: Start) -> None:
    """What denies namespaces must not deny these: they are made by the same system calls."""
    script = "import threading, subprocess; t = threading.Thread(target=print, args=['a']); t.start(); t.join(); "
    tespes.plan = plan({"command": [PYTHON, "-c", script + "subprocess.run(['echo', 'b'])"]})
    line = await (await start(tespes.url)).ended()
    assert sorted(line["executors"][0]["stdout"].split()) == ["a", "b"]


def test_a_machine_that_is_not_known_has_no_filter() -> None:
    """The task then gets a note. Known ones have one whose jumps stay inside it."""
    assert seccomp.program("riscv64") is None
    for machine in ("x86_64", "aarch64"):
        code = seccomp.program(machine)
        assert code is not None
        assert len(code) % 8 == 0
        for at in range(0, len(code), 8):
            if code[at] & 0x07 == 0x05:  # a jump
                assert at + 8 * (1 + max(code[at + 2], code[at + 3])) < len(code)
