"""Canonical JSON against RFC 8785's own examples, and its two writers against each other."""

import json
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

import strategies
from tespes.events import canonical

_WHOLE_MAX = 2**53 - 1

values = st.recursive(
    st.none() | st.booleans() | st.integers(-_WHOLE_MAX, _WHOLE_MAX) | strategies.texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strategies.texts, inner, max_size=3),
    max_leaves=8,
)
with_fractions = st.recursive(
    values | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strategies.texts, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555555", "333333333.3333333"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_the_standard_writes_them(bits: str, text: str) -> None:
    """RFC 8785, appendix B."""
    number = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert canonical.dumps(number).decode() == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (0.1, "0.1"), (-0.0, "0"), (1e21, "1e+21"), (1, "1"), (4.50, "4.5"), (2e-3, "0.002")]
)
def test_a_number_has_one_text(value: float, text: str) -> None:
    """However it was given: 1.0 is 1, -0 is 0."""
    assert canonical.dumps(value).decode() == text
    assert canonical.dumps({"ram_gb": value}).decode() == f'{{"ram_gb":{text}}}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    """RFC 8785, section 3.2.2.3: NaN and infinities terminate with an error."""
    with pytest.raises(rfc8785.FloatDomainError):
        canonical.dumps({"ram_gb": value})


def test_the_standards_example() -> None:
    """RFC 8785, section 3.2.2 to 3.2.4."""
    value = json.loads(
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
             "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    )
    assert canonical.dumps(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_as_utf_16() -> None:
    """RFC 8785, section 3.2.3: a key beyond the basic plane sorts by its surrogates, before U+FB33."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\xf6"]
    written = json.loads(canonical.dumps(dict.fromkeys(keys, "x")), object_pairs_hook=lambda pairs: [k for k, _ in pairs])
    assert written == ["\r", "1", "\x80", "\xf6", "\u20ac", "\U0001f600", "\ufb33"]


def test_only_what_must_be_is_escaped() -> None:
    """RFC 8785, section 3.2.2.2: lower-case hex for the rest of the controls, everything else as itself."""
    text = "\b\t\n\f\r\x00\x1f\x7f\u2028/<é😀"
    assert canonical.dumps(text).decode() == '"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\u2028/<é😀"'


@given(values)
def test_the_fast_writer_writes_what_the_reference_writes(value: Any) -> None:
    """One value, one text, whichever of the two writers got it."""
    assert canonical.dumps(value) == rfc8785.dumps(value)


@given(with_fractions)
def test_canonical_text_is_read_back_and_written_again(value: Any) -> None:
    """Reading the text and writing it again gives the same bytes: a hash can be checked by anybody."""
    text = canonical.dumps(value)
    read = json.loads(text, parse_int=float)  # as the standard has it: every number is a double
    assert canonical.dumps(read) == text
    assert read == value
