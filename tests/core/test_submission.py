"""What POST /tasks takes, what it refuses, and in which words."""

import json
from typing import Any

import pytest

import given as g
from submissions import EXECUTOR, echoed, executor, read, refused, resources, source, target, task, view_after
from tespes import events, tes
from tespes.runner import mounts
from tespes.tes import limits, parameters

MANY_BYTES = 131_072

OBJECT = "a JSON object (RFC 8259, in UTF-8) is expected"
WHOLE_ONES = "whole characters are expected"
ONCE = "each key is expected once"
BOM = b"\xef\xbb\xbf"
MANY_KEYS = b"{%b}" % b",".join(b'"%d":1' % (number % 99_999) for number in range(100_000))
DEPTH = ("objects or lists inside more than 250 others", "less depth is expected")
BODIES: list[tuple[str, bytes, str, str]] = [
    ("empty", b"", "nothing", OBJECT),
    ("blank", b" \n", "nothing", OBJECT),
    ("cut off", b'{"name": "x"', "what is not JSON at line 1, column 13, before its end", OBJECT),
    ("no JSON", b'{"executors": [}', "what is not JSON at line 1, column 16, before '}'", OBJECT),
    ("a form", b"name=x", "what is not JSON at line 1, column 1, before 'name=x'", OBJECT),
    ("not a number", b'{"a":NaN}', "what is not JSON at line 1, column 6, before 'NaN}'", OBJECT),
    ("infinite", b'{"a":Infinity}', "what is not JSON at line 1, column 6, before 'Infinity}'", OBJECT),
    ("too large a number", b'{"a":1e999}', "what is not JSON at line 1, column 6, before '1e999}'", OBJECT),
    ("a raw control character", b'{"a":"\n"}', "what is not JSON at line 1, column 7, before '\\n\"}'", OBJECT),
    ("a list", b"[]", "a list", OBJECT),
    ("null", b"null", "null", OBJECT),
    ("a text", b'"task"', "'task'", OBJECT),
    ("Latin 1", '{"name":"é"}'.encode("latin-1"), "what is not UTF-8 from byte 10 on", OBJECT),
    ("UTF-16", "{}".encode("utf-16"), "what is not UTF-8 from byte 1 on", OBJECT),
    ("two byte order marks", BOM * 2 + b"{}", "what is not JSON at line 1, column 1, before '\\ufeff{}'", OBJECT),
    ("100,000 byte order marks", BOM * 100_000, "what is not JSON at line 1, column 1, before '%s'" % (r"\ufeff" * 20), OBJECT),
    ("nothing but a byte order mark", BOM, "nothing", OBJECT),
    ("a lone surrogate", b'{"a":"\\ud800"}', "half of a character (a lone surrogate) at line 1, column 7", WHOLE_ONES),
    ("a lone surrogate as key", b'{"\\udc00":1}', "half of a character (a lone surrogate) at line 1, column 3", WHOLE_ONES),
    ("300 deep", b'{"a":' * 300 + b"1" + b"}" * 300, *DEPTH),
    ("10,000 deep", b"[" * 10_000 + b"]" * 10_000, *DEPTH),
    ("a million deep", b'{"a":' * 1_000_000, *DEPTH),
    ("a key twice", b'{"name":"a","name":"b"}', "the key 'name' twice in one object", ONCE),
    ("a key twice inside", b'{"x":[{"y":1,"y":1}]}', "the key 'y' twice in one object", ONCE),
    ("a key twice, spelled otherwise", b'{"a":"","\\u0061":""}', "the key 'a' twice in one object", ONCE),
    ("a key twice, and quotes", b'{"b":"%b","a":"","a":""}' % (b"\\u0022" * 4), "the key 'a' twice in one object", ONCE),
    ("a key twice after a byte order mark", BOM + b'{"a":1,"a":1}', "the key 'a' twice in one object", ONCE),
    ("a key twice among 100,000", MANY_KEYS, "a key twice in one object", ONCE),
]  # fmt: skip


@pytest.mark.parametrize(("body", "found", "allowed"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_a_body_that_is_no_json_object_is_refused(body: bytes, found: str, allowed: str) -> None:
    """Whatever the bytes: what is wrong with them and where, in our own words."""
    said = refused(body)
    assert (said.field, said.found, said.allowed) == ("", found, allowed)


MISSING = ("nothing", "this field is expected")
ABSOLUTE = "an absolute path is expected: it begins with '/'"
UP = "a path without '..' is expected"
BELOW = "a path below '/' is expected"
LIST, OBJECT_EXPECTED, TEXT = "a list is expected", "an object is expected", "a text is expected"
IMAGE = "the name of an image is expected, without spaces and with no '-' at its beginning"
ONE_PIECE = "at most 131,071 bytes are expected: Linux takes no more in one piece"
URL = "a URL whose host can be read (RFC 3986) is expected"
NO_CONTENT = "a URL and no content is expected: the type is DIRECTORY"
NO_NUL = "text without NUL is expected"
VARIABLES = "names of variables, neither empty nor with '=', are expected"
GIGABYTES = "a number of gigabytes from 0 to 1,000,000,000 is expected"
CORES = "a whole number from 0 to 2,147,483,647 is expected"
WHOLE = "a whole number is expected: TES 1.1 takes whole cores"
ATTEMPTS = "a whole number from 1 to 10, as a text, is expected"
SUPPORTED = "max_attempts, priority, labels, pulsar, queued_s, running_s, total_s"
PRIORITY = "a whole number from -1,000 to 1,000, as a text, is expected"
LABELS = "at most 32 names of letters, digits, '_', '.' and '-', with commas between them, are expected"
PULSAR = "a name of 1 to 255 letters, digits, '_', '.' and '-' is expected"
SECONDS = "a whole number of seconds, from 1 to 999,999,999, as a text, is expected"
HIDES = "a path that hides no system directory of the container is expected"
KERNEL = "/proc and /sys are the kernel's: another path is expected"
FIELDS: list[tuple[Any, str, str, str]] = [
    ({}, "executors", *MISSING),
    ({"executors": None}, "executors", *MISSING),
    ({"executors": []}, "executors", "an empty list", "at least one executor is expected"),
    ({"executors": {}}, "executors", "an object", LIST),
    ({"executors": [None]}, "executors.0", "null", OBJECT_EXPECTED),
    ({"executors": [EXECUTOR, "true"]}, "executors.1", "'true'", OBJECT_EXPECTED),
    ({"executors": [{"command": []}]}, "executors.0.image", *MISSING),
    ({"executors": [{"image": "a"}]}, "executors.0.command", *MISSING),
    (executor(command=None), "executors.0.command", *MISSING),
    (executor(command="true"), "executors.0.command", "'true'", LIST),
    (executor(command=["a", None]), "executors.0.command.1", "null", TEXT),
    (executor(command=["a", 1]), "executors.0.command.1", "1", TEXT),
    (executor(command=["a", True]), "executors.0.command.1", "true", TEXT),
    (executor(command=["a", {}]), "executors.0.command.1", "an object", TEXT),
    (executor(command=["", "a"]), "executors.0.command.0", "''", "the name of a program is expected"),
    (executor(command=["a\0b"]), "executors.0.command.0", "a NUL character in 'a\\x00b'", NO_NUL),
    (executor(command=["a", "x" * MANY_BYTES]), "executors.0.command.1", "131,072 bytes", ONE_PIECE),
    (executor(command=["a", "é" * (MANY_BYTES // 2)]), "executors.0.command.1", "131,072 bytes", ONE_PIECE),
    (executor(image=""), "executors.0.image", "''", IMAGE),
    (executor(image=" alpine"), "executors.0.image", "' alpine'", IMAGE),
    (executor(image="a\tb"), "executors.0.image", "'a\\tb'", IMAGE),
    (executor(image="alpine\n"), "executors.0.image", "'alpine\\n'", IMAGE),
    (executor(image="--privileged"), "executors.0.image", "'--privileged'", IMAGE),
    (executor(image="a\0"), "executors.0.image", "a NUL character in 'a\\x00'", NO_NUL),
    (executor(image=7), "executors.0.image", "7", TEXT),
    (executor(env=["A=1"]), "executors.0.env", "a list", OBJECT_EXPECTED),
    (executor(env={"A": 1}), "executors.0.env.A", "1", TEXT),
    (executor(env={"": "x"}), "executors.0.env", "''", VARIABLES),
    (executor(env={"A=B": "x"}), "executors.0.env", "'A=B'", VARIABLES),
    (executor(env={"A\0": "x"}), "executors.0.env", "a NUL character in 'A\\x00'", NO_NUL),
    (executor(env={"A": "x" * (MANY_BYTES - 2)}), "executors.0.env.A", "131,072 bytes", ONE_PIECE),
    (executor(env={"A" * MANY_BYTES: ""}), f"executors.0.env.{'A' * 80}", "131,073 bytes", ONE_PIECE),
    (executor(ignore_error="maybe"), "executors.0.ignore_error", "'maybe'", "true or false is expected"),
    (executor(workdir="work"), "executors.0.workdir", "'work'", ABSOLUTE),
    (executor(workdir="/job/.."), "executors.0.workdir", "'/job/..'", UP),
    (executor(stdin="in"), "executors.0.stdin", "'in'", ABSOLUTE),
    (executor(stdout="/"), "executors.0.stdout", "'/'", BELOW),
    (executor(stderr="/a/../b"), "executors.0.stderr", "'/a/../b'", UP),
    (executor(stderr=5), "executors.0.stderr", "5", TEXT),
    (task(inputs={}), "inputs", "an object", LIST),
    (task(inputs=[None]), "inputs.0", "null", OBJECT_EXPECTED),
    (task(inputs=[{"url": "u"}]), "inputs.0.path", *MISSING),
    (task(inputs=[{"path": "/a"}]), "inputs.0.url", "nothing", "a URL is expected, unless there is content"),
    (task(inputs=[{"path": "/a", "url": ""}]), "inputs.0.url", "nothing", "a URL is expected, unless there is content"),
    (task(inputs=[source("")]), "inputs.0.path", "''", ABSOLUTE),
    (task(inputs=[source("relative")]), "inputs.0.path", "'relative'", ABSOLUTE),
    (task(inputs=[source("/..")]), "inputs.0.path", "'/..'", UP),
    (task(inputs=[source("/")]), "inputs.0.path", "'/'", BELOW),
    (task(inputs=[source("//./")]), "inputs.0.path", "'//./'", BELOW),
    (task(inputs=[source("/a\0")]), "inputs.0.path", "a NUL character in '/a\\x00'", NO_NUL),
    (task(inputs=[source("/d/" + "a" * 256)]), "inputs.0.path", "256 bytes", "at most 255 bytes between two '/' are expected"),
    (task(inputs=[source("/d/" + "é" * 128)]), "inputs.0.path", "256 bytes", "at most 255 bytes between two '/' are expected"),
    (task(inputs=[source("/a" * 2048)]), "inputs.0.path", "4,096 bytes", "a path of at most 4,095 bytes is expected"),
    (task(inputs=[source("/a", type="LINK")]), "inputs.0.type", "'LINK'", "FILE or DIRECTORY is expected"),
    (task(inputs=[source("/a", type=1)]), "inputs.0.type", "1", "FILE or DIRECTORY is expected"),
    (task(inputs=[source("/a", streamable="x")]), "inputs.0.streamable", "'x'", "true or false is expected"),
    (task(inputs=[source("/a", content=1)]), "inputs.0.content", "1", TEXT),
    (
        task(inputs=[{"path": "/a", "content": "x" * (2**20 + 1)}]),
        "inputs.0.content",
        "1,048,577 bytes",
        "at most 1,048,576 bytes are expected: a longer file needs a URL",
    ),
    (task(outputs=[{"path": "/a"}]), "outputs.0.url", *MISSING),
    (task(outputs=[target("/a", url="")]), "outputs.0.url", "''", "a URL is expected"),
    (
        task(outputs=[target("/a/*.txt")]),
        "outputs.0.path_prefix",
        "nothing",
        "a beginning of the path '/a/*.txt', which has a wildcard, is expected",
    ),
    (
        task(outputs=[target("/a/[x?", path_prefix="")]),
        "outputs.0.path_prefix",
        "''",
        "a beginning of the path '/a/[x?', which has a wildcard, is expected",
    ),
    (
        task(outputs=[target("/a/[x]", path_prefix="/a/[x]")]),
        "outputs.0.path_prefix",
        "'/a/[x]'",
        "a beginning of the path '/a/[x]', before its wildcard, is expected",
    ),
    (task(inputs=[source("/a", url="http://[bad")]), "inputs.0.url", "'http://[bad'", URL),
    (task(inputs=[source("/a", url="ftp://h]/x", content="")]), "inputs.0.url", "'ftp://h]/x'", URL),
    (task(outputs=[target("/a", url="s3://[b]ucket/x")]), "outputs.0.url", "'s3://[b]ucket/x'", URL),
    (task(outputs=[target("/a", url="ftp://h\u2100/x")]), "outputs.0.url", "'ftp://h\u2100/x'", URL),
    (task(inputs=[source("/a", type="DIRECTORY", content="x")]), "inputs.0.content", "'x'", NO_CONTENT),
    (task(inputs=[{"path": "/a", "type": "DIRECTORY", "content": ""}]), "inputs.0.content", "''", NO_CONTENT),
    (
        task(outputs=[target("/a/?", path_prefix="/b")]),
        "outputs.0.path_prefix",
        "'/b'",
        "a beginning of the path '/a/?', before its wildcard, is expected",
    ),
    (
        task(outputs=[target("/a/*.txt", path_prefix="/a/*")]),
        "outputs.0.path_prefix",
        "'/a/*'",
        "a beginning of the path '/a/*.txt', before its wildcard, is expected",
    ),
    (task(volumes="/vol"), "volumes", "'/vol'", LIST),
    (task(volumes=[5]), "volumes.0", "5", TEXT),
    (task(volumes=["vol"]), "volumes.0", "'vol'", ABSOLUTE),
    (task(volumes=["/"]), "volumes.0", "'/'", BELOW),
    (task(tags=["a"]), "tags", "a list", OBJECT_EXPECTED),
    (task(tags={"a": 1}), "tags.a", "1", TEXT),
    (task(tags={"": "x"}), "tags", "''", "keys of 1 to 1,024 characters are expected"),
    (
        task(tags={"k" * 1025: ""}),
        "tags",
        f"'{'k' * 80}'… (1,025 characters)",
        "keys of 1 to 1,024 characters are expected",
    ),
    (task(tags={str(n): "" for n in range(1001)}), "tags", "1,001 tags", "at most 1,000 are expected"),
    (task(tags={str(n): "" for n in range(10_001)}), "tags", "an object", "at most 10,000 entries are expected"),
    (task(tags={"a": "b\0"}), "tags.a", "a NUL character in 'b\\x00'", NO_NUL),
    (task(name="a\0"), "name", "a NUL character in 'a\\x00'", NO_NUL),
    (task(name=5), "name", "5", TEXT),
    (task(description=["x"]), "description", "a list", TEXT),
    (task(resources=[]), "resources", "a list", OBJECT_EXPECTED),
    (resources(cpu_cores=0.5), "resources.cpu_cores", "0.5", WHOLE),
    (resources(cpu_cores=True), "resources.cpu_cores", "true", WHOLE),
    (resources(cpu_cores=-1), "resources.cpu_cores", "-1", CORES),
    (resources(cpu_cores=2**31), "resources.cpu_cores", "2147483648", CORES),
    (resources(cpu_cores=10**40), "resources.cpu_cores", "1e+40", "a smaller number is expected"),
    (resources(cpu_cores="many"), "resources.cpu_cores", "'many'", "a whole number is expected"),
    (resources(cpu_cores=[]), "resources.cpu_cores", "a list", "a whole number is expected"),
    (resources(ram_gb=True), "resources.ram_gb", "true", "a number is expected"),
    (resources(ram_gb=-0.5), "resources.ram_gb", "-0.5", GIGABYTES),
    (resources(ram_gb=1e300), "resources.ram_gb", "1e+300", GIGABYTES),
    (resources(ram_gb="much"), "resources.ram_gb", "'much'", "a number is expected"),
    (resources(disk_gb={}), "resources.disk_gb", "an object", "a number is expected"),
    (resources(disk_gb="nan"), "resources.disk_gb", "'nan'", "a finite number is expected"),
    (resources(disk_gb=-1), "resources.disk_gb", "-1.0", GIGABYTES),
    (resources(zones="us-west-1"), "resources.zones", "'us-west-1'", LIST),
    (resources(zones=[1]), "resources.zones.0", "1", TEXT),
    (resources(preemptible=5), "resources.preemptible", "5", "true or false is expected"),
    (resources(backend_parameters=[]), "resources.backend_parameters", "a list", OBJECT_EXPECTED),
    (resources(backend_parameters={"max_attempts": 2}), "resources.backend_parameters.max_attempts", "2", TEXT),
    *(
        (
            resources(backend_parameters={"Max_Attempts": text}),
            "resources.backend_parameters.max_attempts",
            repr(text),
            ATTEMPTS,
        )
        for text in ("0", "11", "-1", "two", "2.0", "", "²", "1" * 79)
    ),
    *(
        (resources(backend_parameters={name: text}), f"resources.backend_parameters.{name}", repr(text), words)
        for name, text, words in (
            *(("priority", text, PRIORITY) for text in ("", "high", "1001", "-1001", "--1", "+1", "1e2", "9" * 70)),
            *(("labels", text, LABELS) for text in ("", ",", "gpu,", "a b", "gpu;ssd", ",".join("x" * 33))),
            *(("pulsar", text, PULSAR) for text in ("", "a b", "a/b", "é")),
            *((f"{which}_s", text, SECONDS) for which in ("queued", "running", "total") for text in ("0", "-1", "1.5", "1h")),
        )
    ),
    (
        resources(backend_parameters={"VmSize": "x", "max_attempts": "2", "gpu": "1"}, backend_parameters_strict=True),
        "resources.backend_parameters",
        "'VmSize', 'gpu'",
        f"only what is supported is expected, since backend_parameters_strict is true: {SUPPORTED}",
    ),
    *(
        (
            resources(backend_parameters=twice),
            "resources.backend_parameters",
            ", ".join(map(repr, twice)),
            "keys that differ in more than upper and lower case are expected",
        )
        for twice in ({"max_attempts": "2", "MAX_ATTEMPTS": "2"}, {"vmsize": "a", "VmSize": "a"})
    ),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "field", "found", "allowed"), FIELDS, ids=lambda value: str(value)[:60])
def test_a_wrong_field_is_named_with_what_was_found_and_what_is_allowed(
    sent: Any, field: str, found: str, allowed: str
) -> None:
    """Each rule has its row, and its words are ours."""
    said = refused(sent)
    assert (said.field, said.found, said.allowed) == (field, found, allowed)


def inside(inner: str, outer: str, field: str) -> tuple[str, str]:
    return f"'{inner}', which is inside '{outer}'", f"a path outside of it is expected: {field} is a file"


def both(path: str, field: str) -> tuple[str, str]:
    return f"'{path}' as a file, and as a directory in {field}", "one of them is expected"


ONE_INPUT = "one input for each path, or the same one again, is expected"
OTHER_URL = "'/a', as in inputs.0.path, with another url"
OTHER_CONTENT = "'/a', as in inputs.0.path, with another content"
READ_ONLY = "an input is read-only: another path is expected"
OUTPUT, STDOUT, STDERR = "outputs.0.path", "executors.0.stdout", "executors.0.stderr"
DIRECTORY = {"type": "DIRECTORY"}
D = source("/d", **DIRECTORY)
P = target("/d/p/*", path_prefix="/d")
IN_D = "which is inside '/d', inputs.0.path"
PATHS: list[tuple[Any, str, str, str]] = [
    (task(inputs=[source("/a"), source("/a", url="ftp://h/b")]), "inputs.1.path", OTHER_URL, ONE_INPUT),
    (task(inputs=[source("/a"), source("//./a/", url="ftp://h/b")]), "inputs.1.path", OTHER_URL, ONE_INPUT),
    (task(inputs=[source("/a"), source("/a", content="x")]), "inputs.1.path", OTHER_CONTENT, ONE_INPUT),
    (task(inputs=[source("/a"), source("/a"), source("/a", url="u")]), "inputs.2.path", OTHER_URL.replace("0", "1"), ONE_INPUT),
    (task(inputs=[source("/a", **DIRECTORY), source("/a", url="u", **DIRECTORY)]), "inputs.1.path", OTHER_URL, ONE_INPUT),
    (task(inputs=[source("/a"), source("/a", **DIRECTORY)]), "inputs.0.path", *both("/a", "inputs.1.path")),
    (task(inputs=[source("/a/b"), source("/a")]), "inputs.0.path", *inside("/a/b", "/a", "inputs.1.path")),
    (task(inputs=[source("/a"), source("/a-"), source("/a/b/c")]), "inputs.2.path", *inside("/a/b/c", "/a", "inputs.0.path")),
    (task(inputs=[source("/a"), source("/a/b", **DIRECTORY)]), "inputs.1.path", *inside("/a/b", "/a", "inputs.0.path")),
    (task(inputs=[source("/a")], volumes=["/a"]), "inputs.0.path", *both("/a", "volumes.0")),
    (task(inputs=[source("/a")], volumes=["/v", "/a/b"]), "volumes.1", *inside("/a/b", "/a", "inputs.0.path")),
    (task(inputs=[source("/a")], outputs=[target("/a/b")]), "outputs.0.path", *inside("/a/b", "/a", "inputs.0.path")),
    (task(inputs=[source("/a")], outputs=[target("/a", **DIRECTORY)]), "inputs.0.path", *both("/a", "outputs.0.path")),
    (task(outputs=[target("/a", **DIRECTORY)]) | executor(stdout="/a"), STDOUT, *both("/a", OUTPUT)),
    (task(outputs=[target("/d/*", path_prefix="/")]) | executor(stderr="/d"), "executors.0.stderr", *both("/d", OUTPUT)),
    (task(outputs=[target("/o/a/b"), target("/o")]) | executor(stdout="/o/a"), OUTPUT, *inside("/o/a/b", "/o/a", STDOUT)),
    (task(inputs=[source("/a")]) | executor(stdout="/a"), "executors.0.stdout", "'/a', as in inputs.0.path", READ_ONLY),
    (task(inputs=[source("/a")]) | executor(stderr="/a"), "executors.0.stderr", "'/a', as in inputs.0.path", READ_ONLY),
    (task(inputs=[source("/a", **DIRECTORY)]) | executor(stdout="/a"), "executors.0.stdout", *both("/a", "inputs.0.path")),
    (task(inputs=[source("/a")]) | executor(stdout="/a/b"), "executors.0.stdout", *inside("/a/b", "/a", "inputs.0.path")),
    (task(inputs=[source("/a")]) | executor(workdir="/a/b"), "executors.0.workdir", *inside("/a/b", "/a", "inputs.0.path")),
    (task(inputs=[source("/a")]) | executor(workdir="/a"), "inputs.0.path", *both("/a", "executors.0.workdir")),
    (executor(stdin="/a", stdout="/a/b"), "executors.0.stdout", *inside("/a/b", "/a", "executors.0.stdin")),
    (task(volumes=["/v"]) | executor(stdin="/v"), "executors.0.stdin", *both("/v", "volumes.0")),
    (task(inputs=[D]) | executor(stdout="/d/o"), STDOUT, f"'/d/o', {IN_D}", READ_ONLY),
    (task(inputs=[D]) | executor(stderr="/d/v/o"), STDERR, f"'/d/v/o', {IN_D}", READ_ONLY),
    (task(inputs=[D], volumes=["/d"]) | executor(stdout="/d/o"), STDOUT, f"'/d/o', {IN_D}", READ_ONLY),
    (task(inputs=[D], outputs=[P]) | executor(stdout="/d/p/o"), STDOUT, f"'/d/p/o', {IN_D}", READ_ONLY),
    (task(inputs=[D], volumes=["/d/v"]) | executor(stdout="/d/w"), STDOUT, f"'/d/w', {IN_D}", READ_ONLY),
    *(
        (task(volumes=["/v", path]), "volumes.1", f"'{path}', a system directory", HIDES)
        for path in (*mounts.SYSTEM_DIRECTORIES, "/opt", "/var")
    ),
    (task(inputs=[source("/etc/")]), "inputs.0.path", "'/etc', a system directory", HIDES),
    (task(outputs=[target("/usr", **DIRECTORY)]), "outputs.0.path", "'/usr', a system directory", HIDES),
    (task(outputs=[target("/*", path_prefix="/")]), "outputs.0.path", "'/', a system directory", HIDES),
    (executor(stdout="/dev"), "executors.0.stdout", "'/dev', a system directory", HIDES),
    (task(volumes=["/proc/x"]), "volumes.0", "'/proc/x'", KERNEL),
    (task(inputs=[source("/sys/x")]), "inputs.0.path", "'/sys/x'", KERNEL),
    (executor(stderr="/proc/self/fd/2"), "executors.0.stderr", "'/proc/self/fd/2'", KERNEL),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "field", "found", "allowed"), PATHS, ids=lambda value: str(value)[:60])
def test_paths_that_contradict_each_other_are_both_named(sent: Any, field: str, found: str, allowed: str) -> None:
    """What is a file is no directory of another path, inputs are read-only, and nothing covers the system's directories."""
    said = refused(sent)
    assert (said.field, said.found, said.allowed) == (field, found, allowed)


@pytest.mark.parametrize(
    "sent",
    [
        executor(workdir="/"),
        executor(workdir="", stdin="", stdout="", stderr=""),
        executor(command=[]),
        executor(command=["a", ""], env={"A": ""}),
        executor(command=["a", "x" * 131_071], env={"A": "x" * 131_069}),
        executor(stdin="/dev/null", stdout="/dev/null", stderr="/dev/null"),
        executor(stdout="/o", stderr="/o"),
        executor(image="registry:5000/team/tool@sha256:" + "0" * 64),
        task(inputs=[{"path": "/empty", "content": ""}]),
        task(inputs=[{"path": "/a", "content": "x" * 2**20}]),
        task(inputs=[source("/a", content="this counts")]),
        task(inputs=[source("/d/a"), source("/d", **DIRECTORY), source("/d/b", **DIRECTORY)]),
        task(inputs=[source("/v/in")], outputs=[target("/v/out")], volumes=["/v", "/v/w", "/v"]),
        task(inputs=[source("/a")], outputs=[target("/a"), target("/a", url="ftp://h/twice")]) | executor(stdin="/a"),
        task(inputs=[source("/etc/passwd")], outputs=[target("/usr/lib/x")], volumes=["/usr/local/share/x", "/opt/x"]),
        task(outputs=[target("/work")]) | executor(workdir="/work/sub"),
        task(outputs=[target("/o/a/b"), target("/o"), target("/o/a"), target("/o", **DIRECTORY)]),
        task(outputs=[target("/o"), target("/o/*", path_prefix="/o")]),
        task(inputs=[source("/v/in")], outputs=[target("/v"), target("/v/o")], volumes=["/v"]) | executor(stdout="/v/o"),
        task(inputs=[D, source("/e/a")], outputs=[target("/d"), target("/e")]),
        task(inputs=[D], volumes=["/d/v"]) | executor(stdout="/d/v/o", workdir="/d", stdin="/d/in"),
        task(inputs=[D], outputs=[target("/d/out", **DIRECTORY), P]) | executor(stderr="/d/out/e"),
        task(inputs=[source("/a", name="one"), source("//a/", name="other"), source("/a", streamable=True)]),
        task(inputs=[D, D]),
        task(inputs=[{"path": "/a", "content": "x" * 5000}] * 2),
        task(inputs=[source("/a", type="DIRECTORY", content="")]),
        task(inputs=[source("/a", content="x", url="http://[is ignored")]),
        task(inputs=[source("/a", url="/data/[1]"), source("/b", url="//[/x"), source("/c", url="ftp://[::1]:21/é")]),
        task(inputs=[source("/a", url="drs://dg.4503:x/y"), source("/b", url="///"), source("/c", url="what:ever")]),
        task(outputs=[target("/w/[12].txt"), target("/w/[12].txt/[a", path_prefix="")]),
        task(outputs=[target("/v", **DIRECTORY), target("/v/a")], volumes=["/v"]),
        task(outputs=[target("/work/*.txt", path_prefix="/work"), target("/work/a.txt")]),
        task(outputs=[target("//work/*", path_prefix="/work/"), target("/a", path_prefix="is ignored")]),
        task(inputs=[source("/in/[a]*?")]),
        task(inputs=[source("/d/..a/.b/c..d")]),
        task(inputs=[source("/" + "/".join(["d" * 254] * 16))]),
        resources(cpu_cores=0, ram_gb=0, disk_gb=1e9),
        task(tags={f"{n}": "" for n in range(1000)} | {}),
        task(tags={"k" * 1024: "v" * 100_000}),
        task(inputs=[], outputs=[], volumes=[], tags={}, resources={}),
        resources(zones=[], backend_parameters={}),
        task(name="lines\nand \t tabs", description="דּ😀 \u2028 \ufeff \x7f", tags={"a.b": "$x", "ключ": "значение"}),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_what_may_work_is_taken_and_comes_back_as_it_was_sent(sent: dict[str, Any]) -> None:
    """Only what can never work is refused; what was sent is echoed exactly, `type` filled in and nothing else."""
    filled = json.loads(json.dumps(sent))
    for file in filled.get("inputs", []) + filled.get("outputs", []):
        file.setdefault("type", "FILE")
    assert echoed(sent) == filled


ZONES = "zones are not used here: the sites of this server are its Pulsars"


def test_zones_are_kept_and_a_line_says_that_nobody_heeds_them() -> None:
    """TES 1.1, tesResources.zones: which of them a server knows is its own affair. None were asked for: no line."""
    submitted = read(resources(zones=["eu-1"], backend_parameters={"VmSize": "A1"}))
    assert submitted.notes == (ZONES, "the backend parameter VmSize is not supported and was not used")
    assert submitted.task.resources == tes.Resources(zones=("eu-1",), backend_parameters={})
    assert read(resources(zones=[None])).notes == ()


def test_what_is_absent_is_not_echoed() -> None:
    """Explicit nulls count as absent everywhere, what TESPES owns or does not know is ignored, whatever its value."""
    sent = {
        "id": 7,
        "state": "NO STATE",
        "logs": [None, {"logs": 5}],
        "creation_time": {},
        "author": {"name": None},
        "name": None,
        "inputs": [{"path": "/in", "url": "u", "type": None, "content": None, "name": None, "checksum": "x"}],
        "outputs": [{"path": "/out", "url": "u"}],
        "volumes": ["/v", None],
        "resources": {"cpu_cores": None, "zones": [None, "a"], "backend_parameters": {"VmSize": None}, "gpus": 1},
        "executors": [{**EXECUTOR, "env": {"A": "", "B": None}, "workdir": None, "ignore_error": None}],
        "tags": {"kept": "", "dropped": None},
    }
    assert echoed(sent) == {
        "inputs": [{"path": "/in", "url": "u", "type": "FILE"}],
        "outputs": [{"path": "/out", "url": "u", "type": "FILE"}],
        "volumes": ["/v"],
        "resources": {"zones": ["a"], "backend_parameters": {}},
        "executors": [{**EXECUTOR, "env": {"A": ""}}],
        "tags": {"kept": ""},
        "logs": [{"logs": [], "outputs": [], "system_logs": [ZONES]}],
    }


def test_numbers_are_taken_as_clients_write_them() -> None:
    """1.0 cores are one core; a number in a text is one; a text that says true is true."""
    sent = resources(cpu_cores=1.0, ram_gb="2.5", disk_gb=4, preemptible="true")
    assert echoed(sent)["resources"] == {"cpu_cores": 1, "ram_gb": 2.5, "disk_gb": 4.0, "preemptible": True}
    assert isinstance(echoed(sent)["resources"]["cpu_cores"], int)


def test_a_byte_order_mark_is_no_obstacle() -> None:
    """Some editors put one before everything."""
    assert read(b"\xef\xbb\xbf" + json.dumps(task()).encode()).task.executors[0].image == "alpine"


def test_a_key_may_come_again_in_another_object_and_quotes_may_be_anywhere() -> None:
    """Only the same key in the same object is twice."""
    sent = b'{"name": "\\u0022 \\"name\\": \\u0022", "tags": {"name": "\\""}, "executors": [{"image": "a", "command": []}]}'
    assert echoed(sent)["name"] == '" "name": "'
    assert read(executor(command=["\\u0022"])).task.executors[0].command == ("\\u0022",)


def test_a_backslash_before_u0000_is_no_nul() -> None:
    """Spelled out in a command, it is six characters."""
    assert read(executor(command=["printf", "\\u0000"])).task.executors[0].command == ("printf", "\\u0000")


class TestContent:
    """TES 1.1, tesInput.content: if it is not empty, the URL is ignored."""

    @pytest.mark.parametrize(
        ("fields", "literal"),
        [
            ({"url": "u", "content": "x"}, "x"),
            ({"url": "u", "content": ""}, None),
            ({"url": "u"}, None),
            ({"content": ""}, ""),
            ({"url": "", "content": ""}, ""),
        ],
    )
    def test_what_counts_is_the_content_unless_it_is_empty_beside_a_url(
        self, fields: dict[str, str], literal: str | None
    ) -> None:
        """An empty content without a URL is an empty file."""
        (found,) = read(task(inputs=[{"path": "/a", **fields}])).task.inputs or ()
        assert found.literal == literal


class TestBackendParameters:
    """TES 1.1, tesResources.backend_parameters."""

    def test_a_supported_key_is_kept_in_lower_case(self) -> None:
        """Keys are case insensitive."""
        sent = resources(backend_parameters={"Max_ATTEMPTS": "3"}, backend_parameters_strict=True)
        assert echoed(sent)["resources"] == {"backend_parameters": {"max_attempts": "3"}, "backend_parameters_strict": True}

    def test_an_unsupported_key_is_neither_stored_nor_returned_and_a_line_says_so(self) -> None:
        """Backends log a warning, and neither store nor return unsupported keys; the line stands before the first attempt."""
        sent = resources(backend_parameters={"VmSize": "A1", "max_attempts": "2"}, backend_parameters_strict=False)
        shown = echoed(sent)
        assert shown["resources"] == {"backend_parameters": {"max_attempts": "2"}, "backend_parameters_strict": False}
        note = "the backend parameter VmSize is not supported and was not used"
        assert shown["logs"] == [{"logs": [], "outputs": [], "system_logs": [note]}]
        assert "A1" not in events.encode(events.TaskCreated(task=read(sent).task)).data

    def test_the_line_moves_into_the_first_attempts_log(self) -> None:
        """The log of its own is gone then; a task without notes has no logs before its first attempt."""
        submitted = read(resources(backend_parameters={"VmSize": "A1"}))
        created = events.TaskCreated(task=submitted.task, notes=submitted.notes)
        (log,) = view_after(created, events.TaskDeferred(reason="full"), g.scheduled())["task"]["logs"]
        assert log["system_logs"] == [*submitted.notes, "waiting: full"]
        assert log["metadata"]["attempt"] == "1"
        assert "logs" not in echoed(task())

    def test_a_creation_that_was_written_without_notes_has_none(self) -> None:
        """The field came later: what stands in a log is read for ever."""
        written = json.loads(events.encode(events.TaskCreated(task=read(task()).task)).data)
        del written["notes"]
        created = events.decode(events.Encoded("TaskCreated", 1, json.dumps(written)))
        assert created == events.TaskCreated(task=read(task()).task)

    def test_many_unsupported_keys_are_few_lines(self) -> None:
        """What a client sends does not fill the log; nor does a long key."""
        notes = read(resources(backend_parameters={f"{'k' * 500}{n}": "" for n in range(1000)})).notes
        assert len(notes) == 21
        assert notes[0] == f"the backend parameter {'k' * 80}… is not supported and was not used"
        assert notes[-1] == "980 more backend parameters are not supported and were not used"

    def test_what_is_asked_for_is_read(self) -> None:
        """Each in its own type; names with blanks around them are those names."""
        sent = {"priority": "-7", "labels": "gpu, ssd", "Pulsar": "site-a.small", "running_s": "60", "TOTAL_S": "3600"}
        submitted = read(resources(backend_parameters=sent)).task
        assert parameters.priority(submitted.resources) == -7
        assert parameters.labels(submitted) == {"gpu", "ssd"}
        assert parameters.pulsar(submitted) == "site-a.small"
        assert parameters.limits(submitted.resources) == limits.Limits(None, 60, 3600)

    def test_tags_ask_too_and_a_backend_parameter_comes_first(self) -> None:
        """`tespes.labels` and `tespes.pulsar`, for clients that send tags only."""
        tags = {"tespes.labels": "ssd", "tespes.pulsar": "site-b"}
        by_tag = read({**task(), "tags": tags}).task
        assert (parameters.labels(by_tag), parameters.pulsar(by_tag)) == (frozenset({"ssd"}), "site-b")
        by_both = read({**resources(backend_parameters={"labels": "gpu", "pulsar": "site-a"}), "tags": tags}).task
        assert (parameters.labels(by_both), parameters.pulsar(by_both)) == (frozenset({"gpu"}), "site-a")

    def test_a_tag_that_cannot_be_heeded_is_a_line_and_no_error(self) -> None:
        """Tags are the users' own free text."""
        submitted = read({**task(), "tags": {"tespes.labels": "gpu or ssd", "tespes.pulsar": "", "tespes.colour": "red"}})
        assert submitted.notes == (
            f"the tag tespes.labels was not used: {LABELS}",
            f"the tag tespes.pulsar was not used: {PULSAR}",
        )
        assert (parameters.labels(submitted.task), parameters.pulsar(submitted.task)) == (frozenset(), None)

    def test_what_service_info_names_is_taken_when_strict(self) -> None:
        """The list of supported keys is true."""
        for name in parameters.SUPPORTED_BACKEND_PARAMETERS:
            read(resources(backend_parameters={name: "1"}, backend_parameters_strict=True))
