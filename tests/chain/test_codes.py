from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.codes import Codes, class_letter
from rddg_ray.config import MISSING_TOKENS
from rddg_ray.errors import DataError
from rddg_ray.schema import Column


def columns(*sizes: int) -> list[Column]:
    return [
        Column(f"c{place}", "categorical", categories=tuple(f"v{i}" for i in range(size)))
        for place, size in enumerate(sizes)
    ]


def words(codes: Codes) -> list[str]:
    return [word for by_value in codes.by_column.values() for word in by_value.values()]


def test_classes_are_lettered_like_the_columns_of_a_spreadsheet() -> None:
    assert [class_letter(place) for place in (0, 1, 25, 26, 27, 701, 702)] == [
        "A", "B", "Z", "AA", "AB", "ZZ", "AAA",
    ]  # fmt: skip


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 99))
def test_codes_are_unique_in_the_table_and_read_back(sizes: list[int], state: int) -> None:
    table = columns(*sizes)
    codes = Codes.draw(table, state)
    assert len(set(words(codes))) == sum(sizes)
    for column, value in ((c, v) for c in table for v in c.categories):
        assert codes.decode(column.name, codes.encode(column.name, value)) == value


def test_a_code_has_three_consonants_or_digits_and_a_consonant_first() -> None:
    found = words(Codes.draw(columns(*[30] * 30), 0))
    assert all(re.fullmatch("[B-DF-HJ-NP-TV-Z][B-DF-HJ-NP-TV-Z0-9]{2}", word) for word in found)


def test_no_code_is_a_number_or_a_missing_cell() -> None:
    # Of all codes there can be, by their alphabet: nothing here is drawn.
    first, rest = "BCDFGHJKLMNPQRSTVWXYZ", "BCDFGHJKLMNPQRSTVWXYZ0123456789"
    possible = {"".join(word) for word in itertools.product(first, rest, rest)}
    assert set(words(Codes.draw(columns(200), 3))) <= possible
    assert not possible & {token.upper() for token in MISSING_TOKENS}
    for word in possible:
        with pytest.raises(ValueError, match="could not convert"):
            float(word)


def test_many_values_get_longer_codes() -> None:
    found = words(Codes.draw(columns(5_000), 0))
    assert len(set(found)) == 5_000
    assert {len(word) for word in found} == {4}


def test_codes_depend_on_the_random_state_alone() -> None:
    assert Codes.draw(columns(3, 4), 7) == Codes.draw(columns(3, 4), 7)
    assert Codes.draw(columns(3, 4), 7) != Codes.draw(columns(3, 4), 8)


def test_no_code_is_a_value_of_the_table() -> None:
    drawn = words(Codes.draw(columns(3), 0))
    taken = Column("taken", "categorical", categories=(*drawn, drawn[0].lower() + " "))
    again = words(Codes.draw([*columns(3), taken], 0))
    assert not set(again) & set(drawn)


def test_without_codes_values_cross_as_they_are() -> None:
    column = columns(2)[0]
    assert Codes().encode("c0", "v1") == "v1" == Codes().decode("c0", "v1")
    assert Codes().coded(column) is column


def test_only_categories_have_codes() -> None:
    table = [Column("n", "numerical"), Column("b", "boolean", categories=("t", "f"))]
    assert set(Codes.draw(table, 0).by_column) == {"b"}


def test_an_unknown_value_or_code_is_named() -> None:
    codes = Codes({"c": {"x": "KJZ"}})
    with pytest.raises(DataError, match="'c': 'y' has no code"):
        codes.encode("c", "y")
    with pytest.raises(DataError, match="'c': 'UDE' is not one of its codes"):
        codes.decode("c", "UDE")
    with pytest.raises(DataError, match="two values have the same code"):
        Codes({"c": {"x": "KJZ", "y": "KJZ"}})
