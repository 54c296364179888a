from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddg_ray.constraints.formula_text import MAX_LENGTH, ExpressionError, parse

NAMES = ["a", "b c", 'q"x', "d_1"]
ROW = {"a": np.array([2.0]), "b c": np.array([3.0]), 'q"x': np.array([5.0]), "d_1": np.array([7.0])}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("16 / 4 / 2", 2),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("2 ** -1", 0.5),
        ("--3 - +1", 2),
        ("a * \"b c\" + 'b c' / `d_1`", 6 + 3 / 7),
        ('"q\\"x" - 1.5e1', -10),
        ("min(a, d_1, 4) + max(a, 1) + abs(-1)", 5),
        ("LOG(exp(2)) + sqrt(9)", 5),
        ("6 \u00f7 2 \u00d7 5 \u2212 1", 14),
    ],
)
def test_a_formula_has_the_value_that_arithmetic_gives_it(text: str, value: float) -> None:
    assert float(parse(text, NAMES).compute(ROW).squeeze()) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "ends where"),
        ("a +", "ends where"),
        ("a b", "not expected"),
        ("(a", "never closed"),
        ("a, a", "not expected"),
        ("x + 1", "there is no column 'x'"),
        ("__import__('os')", "there is no function '__import__'"),
        ("a.real", "no part of a formula"),
        ("a[0]", "no part of a formula"),
        ("a = 2", "no part of a formula"),
        ("min(a)", "takes 2 to 8"),
        ("1e999", "too large"),
        ("(" * 50 + "a" + ")" * 50, "nested"),
        ("^".join(["a"] * 40), "nested"),
        ("+".join(["a"] * 100), "parts"),
        ("a" * (MAX_LENGTH + 1), "characters"),
    ],
)
def test_what_is_no_formula_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        parse(text, NAMES)


def test_a_value_that_is_no_finite_number_is_unknown() -> None:
    values = parse("a / d_1 + log(a)", NAMES).compute(
        {"a": np.array([1.0, -1.0, 1.0, np.nan]), "d_1": np.array([2.0, 2.0, 0.0, 1.0])}
    )
    assert values[0] == 0.5
    assert np.isnan(values[1:]).all()


def test_columns_are_named_once_in_order() -> None:
    assert parse('"b c" + a * "b c"', NAMES).columns == ("b c", "a")


@given(st.text(alphabet="ab c\"'`d_1+-*/^(),.0123e<\u2212", max_size=60))
def test_any_text_is_read_or_refused_and_a_formula_s_text_reads_as_itself(text: str) -> None:
    try:
        tree = parse(text, NAMES)
    except ExpressionError:
        return
    again = parse(str(tree), NAMES)
    assert again == tree
    np.testing.assert_array_equal(again.compute(ROW), tree.compute(ROW))


@given(st.text(max_size=80))
def test_text_of_any_script_never_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        assert str(parse(text, NAMES))
