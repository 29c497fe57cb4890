"""Which files belong to an input or an output, and what their URLs are: a name that a node found is not simply believed."""

import pytest

from tespes import tes
from tespes.flow import names
from tespes.storage import below, shown
from tespes.tes.urls import scheme

DIRECTORY = tes.FileType.DIRECTORY


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("ftp://h/d", "a/b c", "ftp://h/d/a/b%20c"),
        ("ftp://h/d/", "%41?#", "ftp://h/d/%2541%3F%23"),
        ("https://h/d?token=1", "a", "https://h/d/a?token=1"),
        ("s3://bucket", "a", "s3://bucket/a"),
        ("s3://bucket/d/", "50% of #1?", "s3://bucket/d/50% of #1?"),
        ("file:///d", "ü", "file:///d/%C3%BC"),
        ("/d/", "50% of #1?", "/d/50% of #1?"),
        ("ftp://h/d", "", "ftp://h/d"),
    ],
)
def test_a_file_below_a_url(url: str, name: str, expected: str) -> None:
    """One slash between them; escaped where URLs are (RFC 3986), raw where keys and paths stand as they are."""
    assert below(url, name) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://user:secret@h:2121/a?b#c", "ftp://h:2121/a"),
        ("https://h/a?X-Amz-Signature=1", "https://h/a"),
        ("s3://bucket/what? #1", "s3://bucket/what? #1"),
        ("/data/what? #1", "/data/what? #1"),
        ("http://[::1", "a URL that cannot be read"),
        ("http://user:secret@[::1]:80/a", "http://[::1]:80/a"),
        ("s3://AKIA:secret@bucket/a@b", "s3://bucket/a@b"),
        ("file://user:secret@h/a", "file://h/a"),
        ("user:secret@host/x", "user:…"),
        ("relative/path?token=1", "relative/path"),
    ],
)
def test_what_people_see_of_a_url(url: str, expected: str) -> None:
    """No user, password, query; but a key of S3 has none of these."""
    assert shown(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("FTP://h/a", "ftp"),
        ("/data", "file"),
        ("file:///data", "file"),
        ("data", ""),
        ("s3://b/k?x://y", "s3"),
        ("\u017f3://b", ""),
    ],
)
def test_schemes(url: str, expected: str) -> None:
    """In lower case; a mere path is a file."""
    assert scheme(url) == expected


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/in/d/a/b", "ftp://h/d/a/b"),
        ("/in/d", None),
        ("/in/d/", None),
        ("/in/d/../x", None),
        ("/in/d/a//b", None),
        ("/in/dx", None),
    ],
)
def test_files_of_an_input_directory(path: str, url: str | None) -> None:
    """What is below it, at paths that lead nowhere else."""
    wanted = tes.Input(url="ftp://h/d", path="/in/./d/", type=DIRECTORY)
    assert names.input_url(wanted, path) == url


def test_the_file_of_an_input() -> None:
    """Itself, and nothing below it; one made of content has no URL."""
    wanted = tes.Input(url="ftp://h/f", path="/in//f")
    assert names.input_url(wanted, "/in//f") == "ftp://h/f"
    assert names.input_url(wanted, "/in//f/x") is None
    assert names.input_url(tes.Input(path="/f", content="x"), "/f") == ""


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b", "/in/d/a/b"),
        ("..", None),
        ("a/../b", None),
        ("/a", None),
        ("a//b", None),
        ("", None),
        ("a\0", None),
        (".a", "/in/d/.a"),
    ],
)
def test_where_a_file_of_an_input_directory_is(name: str, path: str | None) -> None:
    """Below the directory, whatever the storage calls it."""
    assert names.input_path(tes.Input(url="s3://b/d", path="/in/d", type=DIRECTORY), name) == path


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/out/f", "s3://b/f"),
        ("/out/f/a", "s3://b/f/a"),  # it turned out a directory
        ("/out/./f", None),
        ("/out/f/../../etc/passwd", None),
        ("/out/fx", None),
        ("/out", None),
        ("out/f", None),
    ],
)
def test_files_of_an_output(path: str, url: str | None) -> None:
    """The path that was declared, or what is below it."""
    assert names.output_url(tes.Output(url="s3://b/f", path="/out/f"), path) == url
    assert names.output_url(tes.Output(url="s3://b/f", path="/out/f/", type=DIRECTORY), path) == url


@pytest.mark.parametrize(
    ("pattern", "prefix", "path", "url"),
    [
        ("/job/*.txt", "/job", "/job/a.txt", "ftp://h/w/a.txt"),
        ("/job/*.txt", "/job/", "/job/a.txt", "ftp://h/w/a.txt"),
        ("/job/*.txt", "/job", "/job/.a.txt", None),
        ("/job/*.txt", "/job", "/job/d/a.txt", None),
        ("/job/*", "/job", "/job/d/a.txt", "ftp://h/w/d/a.txt"),  # d is a directory that matches
        ("/job/*/x?.[ab]", "/", "/job/q/x1.a", "ftp://h/w/job/q/x1.a"),
        ("/job/run_*", "/job/run_", "/job/run_1", "ftp://h/w/1"),
        ("/job/run_*", "/job/run_", "/job/run_", None),  # nothing would be left of its name
        ("/job/*", "/job", "/job/../etc", None),
        ("/job/*", "/job", "/job", None),
        ("//job/./*", "/job/", "/job/a", "ftp://h/w/a"),
    ],
)
def test_files_that_match_a_pattern(pattern: str, prefix: str, path: str, url: str | None) -> None:
    """What follows the prefix comes after the URL (TES 1.1, tesOutput.path_prefix)."""
    declared = tes.Output(url="ftp://h/w", path=pattern, path_prefix=prefix)
    assert names.output_url(declared, path) == url
