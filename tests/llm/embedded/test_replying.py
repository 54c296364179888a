"""What the sampler writes, and how it answers rules, feedback and its settings."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.embedded.replying import reply

FLAWLESS = EmbeddedSettings(bias=0, malformed_share=0, copy_share=0, gain=1)
HEADER = ["c", "x", "y", "k"]
ENTRIES = {
    "x": "number, 2 decimals, from -1000 to 1000",
    "y": "number, 2 decimals, from -1000 to 1000",
    "k": 'one of "P", "Q", "R"',
}


def answered(prompt: str, settings: EmbeddedSettings = FLAWLESS) -> str:
    return reply([("system", "s"), ("user", prompt)], settings)


def example_rows(n_rows: int = 15, correlation: float = 0.0) -> dict[str, list[list[str]]]:
    rng = np.random.default_rng(7)
    rows = {}
    for value, mean in (("K", 50.0), ("U", 80.0)):
        a, b = rng.standard_normal((2, n_rows))
        b = correlation * a + np.sqrt(1 - correlation**2) * b
        rows[value] = [
            [value, f"{mean + 10 * x:.2f}", f"{5 * y:.2f}", "PPPQQR"[i % 6]]
            for i, (x, y) in enumerate(zip(a, b, strict=True))
        ]
    return rows


def column(rows: list[list[str]], position: int) -> np.ndarray:
    return np.array([float(row[position]) for row in rows])


@pytest.fixture
def ask(write_generation, rows_of):
    """Return a function from feedback, rules and settings to the reply's rows of each class."""

    def asked(settings=FLAWLESS, n_rows=400, rows=None, **sections):
        rows = rows or example_rows()
        letters = dict.fromkeys("AB", n_rows)
        return rows_of(
            answered(write_generation(HEADER, ENTRIES, rows, letters, **sections), settings)
        )

    return asked


def test_every_class_gets_the_rows_asked_for(ask):
    rows = ask(n_rows=15)
    assert {letter: len(found) for letter, found in rows.items()} == {"A": 15, "B": 15}
    assert all(row[0] == "K" and len(row) == 4 for row in rows["A"])
    assert all(row[3] in {"P", "Q", "R"} for row in rows["B"])


def test_rows_follow_the_class_they_are_written_for(ask):
    shown, rows = example_rows(), ask()
    for letter, value in (("A", "K"), ("B", "U")):
        real, new = column(shown[value], 1), column(rows[letter], 1)
        # The bootstrap's mean is that of the rows shown, up to the skew of 15 values.
        assert abs(new.mean() - real.mean()) < 0.15 * real.std()
        assert 0.8 < new.std() / real.std(ddof=1) < 1.25


def test_rows_are_new(ask):
    shown = {tuple(row) for rows in example_rows().values() for row in rows}
    rows = [tuple(row) for found in ask(n_rows=200).values() for row in found]
    assert not shown & set(rows)
    assert len(set(rows)) > 0.99 * len(rows)


def test_correlations_of_the_rows_shown_are_kept(ask):
    rows = ask(rows=example_rows(30, 0.9))["A"]
    assert np.corrcoef(column(rows, 1), column(rows, 2))[0, 1] > 0.7


def test_the_same_prompt_gets_the_same_reply_and_another_state_another(write_generation):
    prompt = write_generation(HEADER, ENTRIES, example_rows(), {"A": 5})
    assert answered(prompt) == answered(prompt)
    assert answered(prompt) != answered(prompt, FLAWLESS.model_copy(update={"random_state": 1}))
    assert answered(prompt) != answered(prompt + " ")


@pytest.mark.parametrize("gain", [0.0, 0.5, 1.0])
def test_feedback_moves_a_mean_by_the_gain_times_the_difference(write_generation, rows_of, gain):
    # All but the feedback's effect is equal for the two gains: a reply's noise hangs on the
    # prompt and the random state alone. What is left is rounding to 0.01 by chance, whose
    # error has variance of at most 0.01**2 / 4 in each of 2 x 400 rows.
    feedback = 'Class A ("K"):\n- Adjust mean values closer to: "x" 51.3 (was 48.0)'
    prompt = write_generation(HEADER, ENTRIES, example_rows(), {"A": 400, "B": 400},
                              feedback=feedback)  # fmt: skip
    deaf = rows_of(answered(prompt, FLAWLESS.model_copy(update={"gain": 0})))
    moved = rows_of(answered(prompt, FLAWLESS.model_copy(update={"gain": gain})))
    shift = column(moved["A"], 1).mean() - column(deaf["A"], 1).mean()
    assert abs(shift - gain * (51.3 - 48.0)) < 4 * np.sqrt(2 * 0.01**2 / 4 / 400)
    assert moved["B"] == deaf["B"]


def test_feedback_on_whole_numbers_moves_their_mean_by_less_than_one(write_generation, rows_of):
    # Rounding by chance keeps the mean of a shift of 0.4; each of the 2 x 2,000 cells has a
    # rounding variance of at most 1/4.
    rng = np.random.default_rng(3)
    rows = {"K": [["K", str(n)] for n in rng.integers(20, 60, size=15)], "U": [["U", "1"]]}
    prompt = write_generation(
        ["c", "n"],
        {"n": "number, 0 decimals, from 0 to 100"},
        rows,
        {"A": 2000},
        feedback='Overall:\n- Adjust mean values closer to: "n" 40.4 (was 40.0)',
    )
    deaf = rows_of(answered(prompt, FLAWLESS.model_copy(update={"gain": 0})))["A"]
    moved = rows_of(answered(prompt))["A"]
    shift = column(moved, 1).mean() - column(deaf, 1).mean()
    assert abs(shift - 0.4) < 4 * np.sqrt(2 / 4 / 2000)
    assert all(row[1].isdigit() for row in moved)


def test_a_class_s_own_feedback_goes_before_the_overall_one(ask):
    overall = 'Overall:\n- Adjust mean values closer to: "x" 70 (was 60)\n'
    own = 'Class B ("U"):\n- Adjust mean values closer to: "x" 80 (was 83)'
    calm, moved = ask(feedback="Overall:\n- nothing"), ask(feedback=overall + own)
    shifts = [column(moved[a], 1).mean() - column(calm[a], 1).mean() for a in "AB"]
    # Another prompt is other noise: means of 2 x 400 rows of sd 10 differ by sd 0.7.
    assert shifts[0] == pytest.approx(10, abs=4 * 0.71)
    assert shifts[1] == pytest.approx(-3, abs=4 * 0.71)


def test_feedback_moves_a_standard_deviation(ask):
    feedback = 'Class A ("K"):\n- Maintain variance similar to: "x" 12.0 (was 8.0)'
    calm, moved = ask(feedback="-"), ask(feedback=feedback)
    change = column(moved["A"], 1).std() - column(calm["A"], 1).std()
    # The standard deviation of 400 rows of sd 10 has a standard error near 10 / sqrt(800).
    assert change == pytest.approx(4.0, abs=4 * np.sqrt(2) * 14 / np.sqrt(800))


@pytest.mark.parametrize(("target", "seen"), [("0.60", "0.10"), ("-0.20", "0.30")])
def test_feedback_moves_a_correlation(ask, target, seen):
    words = f'"x" and "y" {target} (was {seen})'
    feedback = f'Class A ("K"):\n- Strengthen correlation between: {words}'
    calm, moved = ask(feedback="-"), ask(feedback=feedback)
    found = [np.corrcoef(column(r["A"], 1), column(r["A"], 2))[0, 1] for r in (calm, moved)]
    # Fisher: a correlation of 400 rows has a standard error of at most 0.05.
    assert found[1] - found[0] == pytest.approx(float(target) - float(seen), abs=4 * 0.071)


@pytest.mark.parametrize(("target", "seen"), [("0.70", "0.50"), ("0.30", "0.50")])
def test_feedback_moves_a_share(ask, target, seen):
    feedback = f'Class A ("K"):\n- Align category shares for: "k" "P" {target} (was {seen})'
    calm, moved = ask(feedback="-"), ask(feedback=feedback)
    shares = [np.mean([row[3] == "P" for row in rows["A"]]) for rows in (calm, moved)]
    # Binomial: each share of 400 rows has a standard error of at most 0.025.
    change = float(target) - float(seen)
    assert shares[1] - shares[0] == pytest.approx(change, abs=4 * 0.035)


def test_feedback_on_a_distribution_draws_it_to_the_rows_shown(ask):
    biased = FLAWLESS.model_copy(update={"dispersion": 2.0})
    feedback = 'Class A ("K"):\n- Align distribution patterns for: "x" 0.41'
    plain, drawn = ask(FLAWLESS, feedback="-"), ask(FLAWLESS, feedback=feedback)
    real = np.sort(column(example_rows()["K"], 1))

    def ks(rows):
        new = np.sort(column(rows["A"], 1))
        grid = np.concatenate([real, new])
        shares = [np.searchsorted(side, grid, side="right") / len(side) for side in (real, new)]
        return np.abs(shares[0] - shares[1]).max()

    assert ks(drawn) < ks(plain)
    assert ks(ask(biased, feedback="-")) > ks(drawn)


def test_bias_shifts_means_by_its_share_of_a_standard_deviation(write_generation, rows_of):
    prompt = write_generation(HEADER, ENTRIES, example_rows(), {"A": 400})
    straight = rows_of(answered(prompt))["A"]
    biased = rows_of(answered(prompt, FLAWLESS.model_copy(update={"bias": 0.5})))["A"]
    for position in (1, 2):
        std = column(example_rows()["K"], position).std(ddof=1)
        shift = column(biased, position).mean() - column(straight, position).mean()
        assert shift == pytest.approx(0.5 * std, abs=4 * np.sqrt(2 * 0.01**2 / 4 / 400))


def test_dispersion_scales_the_spread(write_generation, rows_of):
    prompt = write_generation(HEADER, ENTRIES, example_rows(), {"A": 400})
    plain = column(rows_of(answered(prompt))["A"], 1)
    wide = column(
        rows_of(answered(prompt, FLAWLESS.model_copy(update={"dispersion": 2.0})))["A"], 1
    )
    assert wide.std() / plain.std() == pytest.approx(2.0, abs=0.01)


def test_copies_come_in_their_share(ask):
    shown = {tuple(row) for row in example_rows()["K"]}
    rows = ask(FLAWLESS.model_copy(update={"copy_share": 0.2}), 1000)["A"]
    share = np.mean([tuple(row) in shown for row in rows])
    assert abs(share - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 1000)


def test_malformed_rows_come_in_their_share_and_every_kind(ask):
    rows = ask(FLAWLESS.model_copy(update={"malformed_share": 0.3}), 1000)["A"]

    def fault(row: list[str]) -> str | None:
        if len(row) != 4:
            return "prose" if row[0] != "K" else "count"
        if row[3] not in {"P", "Q", "R"}:
            return "category"
        return None if all(_is_number(cell) for cell in row[1:3]) else "number"

    faults = [fault(row) for row in rows]
    share = np.mean([found is not None for found in faults])
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 1000)
    assert set(faults) == {None, "prose", "count", "category", "number"}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_ranges_of_rules_and_table_are_kept(ask, write_generation, rows_of):
    rules = '1. Class A ("K"): "x" is between 48 and 52.\n2. All classes: "y" is between -1 and 2.'
    rows = ask(rules=rules)
    assert all(48 <= x <= 52 for x in column(rows["A"], 1))
    assert any(x > 52 for x in column(rows["B"], 1))
    assert all(-1 <= y <= 2 for y in column(rows["B"], 2))
    entries = ENTRIES | {"x": "number, 2 decimals, from 45 to 55"}
    prompt = write_generation(HEADER, entries, example_rows(), {"A": 200})
    assert all(45 <= x <= 55 for x in column(rows_of(answered(prompt))["A"], 1))


def measured_rows() -> dict[str, list[list[str]]]:
    """Return rows in which f = t / u, unless the flag says that all three are filled in."""
    rng = np.random.default_rng(11)
    rows: dict[str, list[list[str]]] = {"K": [], "U": []}
    for i in range(40):
        t, u = rng.integers(60, 140), round(float(rng.uniform(0.7, 1.3)), 2)
        measured = [str(20 + i), "yes", str(t), f"{u:.2f}", f"{t / u:.1f}"]
        rows["KU"[i % 2]].append(["KU"[i % 2], *measured])
    for value, cells in rows.items():
        for age in range(3):
            cells[age] = [value, str(60 + age), "no", "101.55512", "0.99491", "110.48071"]
    return rows


MEASURED = ["c", "age", "flag", "t", "u", "f"]
MEASURED_ENTRIES = {
    "age": "number, 0 decimals, from 18 to 90",
    "flag": 'one of "yes", "no"',
    "t": "number, 5 decimals, from 1 to 500",
    "u": "number, 5 decimals, from 0.1 to 5",
    "f": "number, 5 decimals, from 1 to 900",
}


def test_relations_become_rules_that_the_next_rows_obey(
    write_relations, write_constraints, write_generation, rows_of
):
    shown = measured_rows()
    analysis = answered(write_relations(MEASURED, MEASURED_ENTRIES, shown))
    assert "not a language model" in analysis
    assert '"f" = "t" / "u"' in analysis
    assert 'If "flag" is "no" then "u" is 0.99491' in analysis
    assert 'Class B ("U"): "t" is between' in analysis
    rules = answered(write_constraints(MEASURED, MEASURED_ENTRIES, shown, analysis))
    assert [line.split(".")[0] for line in rules.splitlines()] == [
        str(number) for number in range(1, len(rules.splitlines()) + 1)
    ]
    assert '"f" = "t" / "u"' in rules
    prompt = write_generation(MEASURED, MEASURED_ENTRIES, shown, {"A": 300, "B": 300}, rules=rules)
    rows = [row for found in rows_of(answered(prompt)).values() for row in found]
    flags = [row[2] for row in rows]
    assert 0.05 < flags.count("no") / len(flags) < 0.3
    for _, _, flag, t, u, f in rows:
        if flag == "no":
            assert (t, u, f) == ("101.55512", "0.99491", "110.48071")
        else:
            assert float(f) == pytest.approx(float(t) / float(u), abs=0.051)
            assert len(u.partition(".")[2]) == 2


def test_without_rules_a_constant_still_goes_with_its_flag(write_generation, rows_of):
    prompt = write_generation(MEASURED, MEASURED_ENTRIES, measured_rows(), {"A": 300})
    for _, _, flag, t, _, f in rows_of(answered(prompt))["A"]:
        assert (flag == "no") == (t == "101.55512") == (f == "110.48071")


def test_an_analysis_without_readable_statements_leaves_the_table_s_ranges(write_constraints):
    prompt = write_constraints(HEADER, ENTRIES, example_rows(), "x is nice.")
    assert answered(prompt).splitlines()[0] == (
        '1. All classes: "x" is between -1000.00 and 1000.00.'
    )


def test_six_classes_each_get_their_own_rows(write_generation, rows_of):
    rng = np.random.default_rng(5)
    rows = {f"c{i}": [[f"c{i}", f"{100 * i + 10 * z:.1f}"] for z in rng.standard_normal(12)]
            for i in range(6)}  # fmt: skip
    prompt = write_generation(["t", "n"], {}, rows, dict.fromkeys("ABCDEF", 20))
    for i, found in enumerate(rows_of(answered(prompt)).values()):
        assert [row[0] for row in found] == [f"c{i}"] * 20
        assert abs(column(found, 1).mean() - 100 * i) < 30


def test_empty_cells_are_written_in_the_share_seen(write_generation, rows_of):
    rng = np.random.default_rng(5)
    rows = {"K": [["K", "" if i % 5 < 3 else f"{z:.2f}", "" if i % 5 == 0 else "P", f"{i}.5"]
                  for i, z in enumerate(rng.standard_normal(15))]}  # fmt: skip
    prompt = write_generation(["c", "x", "k", "n"], {}, rows, {"A": 600})
    found = rows_of(answered(prompt))["A"]
    assert abs(np.mean([row[1] == "" for row in found]) - 0.6) < 4 * np.sqrt(0.24 / 600)
    assert abs(np.mean([row[2] == "" for row in found]) - 0.2) < 4 * np.sqrt(0.16 / 600)


def test_no_cell_is_empty_where_none_was(ask):
    assert all(all(row) for rows in ask().values() for row in rows)


def test_dates_stay_dates_within_their_range(write_generation, rows_of):
    rows = {"K": [["K", f"2020-{month:02d}-15"] for month in range(1, 13)]}
    entries = {"d": "date, format %Y-%m-%d, from 2020-01-15 to 2020-12-15"}
    feedback = 'Overall:\n- Adjust mean values closer to: "d" 2020-07-31 (was 2020-07-01)'
    dates = []
    for report in ("-", feedback):
        prompt = write_generation(["c", "d"], entries, rows, {"A": 300}, feedback=report)
        found = rows_of(answered(prompt))["A"]
        dates.append(np.array([row[1] for row in found], dtype="datetime64[D]"))
    assert min(d.min() for d in dates) >= np.datetime64("2020-01-15")
    assert max(d.max() for d in dates) <= np.datetime64("2020-12-15")
    assert dates[1].astype(int).mean() > dates[0].astype(int).mean() + 5


def test_hostile_names_and_cells_come_back_whole(write_generation, write_relations, rows_of):
    header = ['the "class"', 'price, "net" {EUR}', "two\nlines", "{{x}}"]
    rows = {
        'a "b"': [['a "b"', f"{1.5 + i}", f"A.\nB{i % 3}", "{% raw %}"] for i in range(8)],
        "c\nd": [["c\nd", f"{3.5 + i}", "x,y", "## Task"] for i in range(8)],
    }
    text = answered(write_generation(header, {}, rows, {"A": 5, "B": 5}))
    found = rows_of(text)
    assert text.startswith('"the ""class""","price, ""net"" {EUR}","two\nlines",{{x}}\n')
    assert all(row[2].startswith("A.\nB") and row[3] == "{% raw %}" for row in found["A"])
    assert all(row[0] == "c\nd" and row[2] == "x,y" for row in found["B"])
    assert 'price, \\"net\\" {EUR}' in answered(write_relations(header, {}, rows))


def test_one_shown_row_and_one_column_are_enough(write_generation, rows_of):
    prompt = write_generation(["c", "n"], {}, {"K": [["K", "5"]]}, {"A": 4})
    assert len(rows_of(answered(prompt))["A"]) == 4


def test_tables_of_categories_only_get_new_combinations(write_generation, rows_of):
    rng = np.random.default_rng(2)
    shown = [["K", *rng.choice(["a", "b", "c"], size=8)] for _ in range(15)]
    prompt = write_generation(["t", *"defghijk"], {}, {"K": shown}, {"A": 100})
    rows = rows_of(answered(prompt))["A"]
    copies = [row for row in rows if row in shown]
    assert len(copies) <= 5


def test_a_class_without_rows_gets_words_instead(write_generation):
    rows = {"K": [["K", "1"], ["K", "2"]], "U": []}
    text = answered(write_generation(["c", "n"], {}, rows, {"A": 2, "B": 3}))
    assert text.splitlines()[-1].startswith("I cannot write rows of class B")


def test_small_talk_is_answered_with_what_it_is():
    assert "not a language model" in answered("Hello, who are you?")


def test_the_published_prompts_get_rows(shared: Path, rows_of):
    path = shared / "recordings" / "sick.jsonl"
    recorded = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for line in recorded[2:]:
        rows = rows_of(answered(line["prompt"]))
        assert {letter: len(found) for letter, found in rows.items()} == {"A": 15, "B": 15}
        assert {len(row) for found in rows.values() for row in found} == {28}


def wide_rows(n_columns: int, n_rows: int) -> tuple[list[str], dict[str, list[list[str]]]]:
    rng = np.random.default_rng(1)
    header = ["t", *(f"column {i}" for i in range(n_columns))]
    rows = {
        value: [
            [value]
            + [
                f"{rng.normal():.2f}" if i % 2 else str(rng.choice(list("abcd")))
                for i in range(n_columns)
            ]
            for _ in range(n_rows)
        ]
        for value in "KU"
    }
    return header, rows


def test_thirty_rows_of_seventeen_columns_take_less_than_20_ms_of_cpu(write_generation):
    header, rows = wide_rows(16, 15)
    prompt = write_generation(header, {}, rows, {"A": 15, "B": 15})
    answered(prompt)
    started_s = time.process_time()
    for random_state in range(10):
        answered(prompt, FLAWLESS.model_copy(update={"random_state": random_state}))
    assert (time.process_time() - started_s) / 10 < 0.020


def test_two_hundred_columns_are_answered_in_every_phase(
    write_relations, write_constraints, write_generation, rows_of
):
    header, rows = wide_rows(200, 30)
    started_s = time.process_time()
    analysis = answered(write_relations(header, {}, rows))
    rules = answered(write_constraints(header, {}, rows, analysis))
    text = answered(write_generation(header, {}, rows, {"A": 15, "B": 15}, rules=rules))
    assert time.process_time() - started_s < 3
    assert len(analysis) < 40_000
    assert {len(row) for found in rows_of(text).values() for row in found} == {201}
