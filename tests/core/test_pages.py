"""Filters of a list, and the page tokens that carry them."""

import base64

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import strategies
from tespes import tes
from tespes.tes import pages
from tespes.tes.filters import Filters, tag_filters

FILTERS = st.builds(
    Filters,
    states=st.none() | st.frozensets(st.sampled_from(tes.State)),
    name_prefix=st.none() | strategies.words,
    tags=st.lists(st.tuples(strategies.words, st.none() | strategies.words), max_size=4).map(tuple),
)
POSITIONS = st.integers(1, pages.POSITION_MAX)


@pytest.mark.parametrize(
    ("keys", "values", "expected"),
    [
        ([], [], ()),
        (["a"], [], (("a", None),)),
        (["a"], [""], (("a", None),)),
        (["a"], ["x"], (("a", "x"),)),
        (["b", "a"], ["x"], (("a", None), ("b", "x"))),
        (["b", "a"], ["", "x"], (("a", "x"), ("b", None))),
        (["a", "a"], ["x", "y"], (("a", "x"), ("a", "y"))),
        (["a", "a"], ["x", "x"], (("a", "x"),)),
        ([""], [], ()),
        ([], [""], ()),
        (["", "a"], ["", "x"], (("a", "x"),)),
        ([""], ["x"], (("", "x"),)),
        (["a"], ["x", "", ""], (("a", "x"),)),
    ],
)
def test_keys_and_values_are_zipped_by_position(
    keys: list[str], values: list[str], expected: tuple[tuple[str, str | None], ...]
) -> None:
    """A value that is missing or empty is any; empty parameters count as absent; the order means nothing."""
    assert tag_filters(keys, values) == expected


@pytest.mark.parametrize(("keys", "values"), [([], ["x"]), (["a"], ["x", "y"]), (["a"], ["", "y"]), (["a"] * 101, [])])
def test_more_values_than_keys_and_too_many_keys_are_refused(keys: list[str], values: list[str]) -> None:
    """A value belongs to a key, and a hundred tags are enough."""
    with pytest.raises(ValueError, match=r"values for|101 keys"):
        tag_filters(keys, values)


@given(POSITIONS, FILTERS)
@example(pages.POSITION_MAX, Filters(frozenset(), "\0\U0010ffff'\"\\", (("", ""), ("", None))))
def test_a_token_brings_back_what_it_was_made_of(position: int, filters: Filters) -> None:
    """Position and filters; and it needs no escaping in a URL."""
    token = pages.token(position, filters)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert pages.read(token) == (position, filters)


def packed(text: str | bytes) -> str:
    """A text as tokens are packed."""
    return base64.urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "None",
        "=",
        "====",
        "a",
        "é😀",
        "\0",
        "a b+c/d",
        "A" * (pages.TOKEN_CHARACTERS_MAX + 1),
        "%00",
        packed("before:7"),
        packed(b"\xff\xfe"),
        packed("[2]"),
        packed('{"a":1}'),
        packed("[1,7,null,null,[]]"),
        packed("[3,7,null,null,[]]"),
        packed("[2,0,null,null,[]]"),
        packed("[2,-1,null,null,[]]"),
        packed("[2,9223372036854775808,null,null,[]]"),
        packed("[2,1e3,null,null,[]]"),
        packed("[2,true,null,null,[]]"),
        packed('[2,"7",null,null,[]]'),
        packed('[2,7,["DONE"],null,[]]'),
        packed('[2,7,"RUNNING",null,[]]'),
        packed('[2,7,null,"",[]]'),
        packed("[2,7,null,7,[]]"),
        packed('[2,7,null,"\\ud800",[]]'),
        packed('[2,7,null,null,[["a"]]]'),
        packed('[2,7,null,null,[["a",1]]]'),
        packed('[2,7,null,null,{"a":"b"}]'),
        packed(orjson.dumps([2, 7, None, None, [[f"k{number}", None] for number in range(101)]])),
        packed("[2, 7, null, null, []]"),
        packed("[" * 5000),
        packed("[2,7,null,null,[]]") + "==",
        packed("[2,7,null,null,[]]") + "\n",
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    """Rubbish, other formats, other spellings: ValueError and nothing else."""
    with pytest.raises(ValueError, match="page token"):
        pages.read(token)


@given(st.text() | st.binary().map(packed))
def test_rubbish_is_refused(token: str) -> None:
    """Whatever it is."""
    with pytest.raises(ValueError, match="page token"):
        pages.read(token)


@given(POSITIONS, FILTERS, st.data())
def test_a_changed_token_says_something_else_or_nothing(position: int, filters: Filters, data: st.DataObject) -> None:
    """No two tokens mean the same."""
    token = pages.token(position, filters)
    place = data.draw(st.integers(0, len(token) - 1))
    changed = token[:place] + data.draw(st.sampled_from("Ab0_")) + token[place + 1 :]
    try:
        found = pages.read(changed)
    except ValueError:
        return
    assert (found == (position, filters)) == (changed == token)


def test_filters_that_no_token_could_carry_are_noticed() -> None:
    """Ordinary ones fit by far."""
    assert pages.fit_a_token(Filters(frozenset(tes.State), "n" * 1000, tuple((f"key-{n}", "v" * 100) for n in range(50))))
    assert not pages.fit_a_token(Filters(name_prefix="n" * pages.TOKEN_CHARACTERS_MAX))
    assert not pages.fit_a_token(Filters(name_prefix="\x01" * 3000))
