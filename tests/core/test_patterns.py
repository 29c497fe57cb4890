"""Which paths a pattern means: tespes.runner.patterns, against the C library's own fnmatch."""

import ctypes
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tespes.runner import patterns

PERIOD = 4  # FNM_PERIOD of glibc, whose FNM_PATHNAME has no `[` as itself before a `/`: so names are compared, not paths
_libc = ctypes.CDLL(None)


def by_the_c_library(pattern: str, name: str) -> bool:
    return bool(_libc.fnmatch(pattern.encode(), name.encode(), PERIOD) == 0)


# ASCII, as what a letter is depends on the locale. Left out is what POSIX does not define: a backslash at the end of a name,
# classes that do not exist, classes that end a range, and `[.` or `[=` without the rest. In glibc an unclosed `[a-` is
# nothing at all, and after `*?` at the beginning a bracket takes any period for a leading one.
_UNDEFINED = r"\[([.=])(?!.\1\])|-\[[:=]|-\Z|\A\*[*?]*\?[*?]*\["
_KINDS = ["alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"]
_ELEMENTS = ["a", "b", "z", "B", "1", ".", "_", ":", "*", "?", "\\]", "\\-", "\\a", "[.-.]", "[=a=]"]
_RANGES = ["a-c", "c-a", "!--", "0-9", "\\a-z", "a-[.c.]"]
_elements = st.sampled_from([*_ELEMENTS, *_RANGES, *(f"[:{kind}:]" for kind in _KINDS)])
_insides = st.tuples(st.sampled_from(["", "]", "-"]), st.lists(_elements, max_size=3).map("".join)).map("".join).filter(bool)
_brackets = st.tuples(st.sampled_from(["[", "[!", "[^"]), _insides, st.sampled_from(["]", "-]"])).map("".join)
_CHARACTERS = "abczB1.-_!^: \\*?[]"
_parts = st.one_of(
    st.sampled_from(["a", "b", ".", "-", "!", "^", "[", "]", "\\\\", "\\*", "\\[", "\\a"]).map(lambda text: (text, text[-1])),
    st.tuples(_brackets, st.sampled_from(_CHARACTERS)),
    st.tuples(st.just("?"), st.sampled_from(_CHARACTERS)),
    st.tuples(st.just("*"), st.text(_CHARACTERS, max_size=3)),
)
_names = st.lists(_parts, min_size=1, max_size=5).map(lambda parts: tuple(map("".join, zip(*parts, strict=True))))


@settings(max_examples=1000, derandomize=True)  # the C library may have more oddities than are known here
@given(_names.filter(lambda each: bool(each[1]) and not re.search(_UNDEFINED, each[0])))
@example(("[[:alpha:]", "[a"))
@example(("[[:alpha:]", "[:"))
@example(("[a", "[a"))
@example(("[]-a]", "^"))
@example(("*a*b*", "cacb"))
@example(("[!a]b", ".b"))
def test_a_name_matches_if_it_does_for_the_c_library(each: tuple[str, str]) -> None:
    """Of names that nearly match."""
    pattern, name = each
    assert patterns.matches(f"/{pattern}", f"/{name}") == by_the_c_library(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/out/*.txt", "/out/a.txt", True),
        ("/out/*.txt", "/out/.txt", False),
        ("/out/*.txt", "/out/sub/a.txt", False),
        ("/out/*.txt", "/out/a.txt/below/it", True),
        ("/out/*", "/out", False),
        ("/out/*", "/elsewhere/a", False),
        ("/out/*/x?.txt", "/out/sub/x1.txt", True),
        ("/out/**", "/out/a", True),
        ("/out/**/c", "/out/a/b/c", False),
        ("/out/[.]a", "/out/.a", False),
        ("/out/.*", "/out/.a", True),
        ("/o\\ut/*", "/out/a", True),
        ("/out/?", "/out/ü", True),
        ("/out/[à-ý]", "/out/é", True),
        ("/out/[[:alpha:]]", "/out/é", False),
        ("/out/[[:nonsense:]]", "/out/n", False),
        ("/out/[![:nonsense:]]", "/out/n", True),
        ("/out/a*b", "/out/a\n\nb", True),
        ("/out/a", "/out/a\n", False),
        ("/out/*\\", "/out/a\\", True),
        ("/out/*?[!]]", "/out/a.", True),
    ],
)
def test_whole_paths_match(pattern: str, path: str, *, expected: bool) -> None:
    """Name by name, and whatever is below a match: a directory is stored with all that it holds."""
    assert patterns.matches(pattern, path) is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("/*", "/"), ("/out/*", "/out"), ("/out/a?/b/*", "/out"), ("/o/u/t/[a]", "/o/u/t"), ("/o\\u/\\*", "/ou"), ("/a", "/")],
)
def test_a_pattern_has_a_directory_to_begin_at(pattern: str, expected: str) -> None:
    """The names before its first wildcard, with nothing escaped."""
    assert patterns.directory(pattern) == expected


@pytest.mark.parametrize("pattern", ["/*a*a*a*a*a*b", "/" + "*a" * 127, "/" + "?*" * 120 + "b", "/" + "*[ab]" * 50 + "c"])
def test_no_pattern_takes_long(pattern: str) -> None:
    """The obvious regular expression would need hours."""
    begun = time.perf_counter()
    for last in "ac":
        patterns.matches(pattern, "/" + "a" * 254 + last)
    assert time.perf_counter() - begun < 1
