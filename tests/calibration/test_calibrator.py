from __future__ import annotations

import json
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest

from rddg_ray.calibration import CalibrationRecord, CalibrationState, Calibrator
from rddg_ray.calibration.learning import asked_for
from rddg_ray.calibration.posterior import Posterior
from rddg_ray.calibration.summaries import Summaries
from rddg_ray.calibration.wording import ControlWriter, Saying, Shape
from rddg_ray.codes import Codes
from rddg_ray.config import CalibrationSettings
from rddg_ray.llm.embedded.remarks import Remark, read_remarks
from rddg_ray.measuring import Gauge, Measured

CODES = Codes({"ward": {"N": "KIP", "S": "ZUL", "E": "BOR", "W": "DEX"}})


def name(label: str) -> str:
    return f"{label.upper()} ({label!r})"


@pytest.fixture
def calibrator(gauge: Gauge, real: Measured, summaries: Summaries) -> Calibrator:
    return Calibrator(gauge, real, settings=CalibrationSettings(), codes=CODES, class_name=name,
                      summaries=summaries)  # fmt: skip


def moved(real: Measured, n_rows: int, shift: float, random_state: int) -> Measured:
    """Return rows of class a whose ages are shifted by so many years."""
    rng = np.random.default_rng(random_state)
    batch = real.take(rng.choice(np.flatnonzero(real.labels == 0), n_rows))
    numbers = batch.numbers.copy()
    numbers[:, 0] += shift
    return Measured(batch.labels, numbers, batch.slots)


def play(
    calibrator: Calibrator, real: Measured, shift: float, n_rounds: int, gain: float = 1.0
) -> tuple[list[CalibrationState], list[CalibrationRecord]]:
    """Return states and records of rounds whose ages are off by a shift and follow what is said."""
    state, place = calibrator.start(), at(calibrator.summaries, "mean", "age")
    states, records = [], []
    for round_ in range(n_rounds):
        asked = float(np.nan_to_num(state.said[place] - calibrator.summaries.target[place]))
        batch = moved(real, 15, shift + 10 * gain * asked, round_)
        state, record = calibrator.update(state, batch, 100 - round_)
        states.append(state)
        records.append(record)
    return states, records


def at(summaries: Summaries, kind: str, *names: str) -> int:
    return next(place for place, item in enumerate(summaries.items)
                if item.label == "a" and item.kind == kind and item.names == names)  # fmt: skip


def same(one: CalibrationState, other: CalibrationState) -> bool:
    for field in fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, Posterior):
            pairs = [(getattr(left, f.name), getattr(right, f.name)) for f in fields(left)]
        else:
            pairs = [(left, right)]
        for mine, theirs in pairs:
            is_array = isinstance(mine, np.ndarray)
            if not (np.array_equal(mine, theirs, equal_nan=True) if is_array else mine == theirs):
                return False
    return True


def test_nothing_is_said_at_the_start(calibrator: Calibrator) -> None:
    assert calibrator.said(calibrator.start()) == ""


def age_of(text: str) -> Remark:
    return next(r for r in read_remarks(text) if (r.kind, r.names) == ("mean", ("age",)))


def test_a_clear_shift_is_answered_by_a_control_on_the_other_side(
    calibrator: Calibrator, real: Measured
) -> None:
    states, records = play(calibrator, real, 15.0, 6)
    target = real.numbers[real.labels == 0, 0].mean()
    # 15 years on 50 with a deviation of 10: the level is told, and less than the mean asked for.
    assert float(age_of(records[0].text).seen) > target + 5
    # Before it is known how the figures are read, none is beyond its target.
    assert float(age_of(records[0].text).target) > target - 1
    assert float(age_of(records[-1].text).target) < target - 5
    assert records[-1].text == calibrator.said(states[-1])
    assert "Class B" not in records[-1].text
    # Once what is asked is done, the rows are where they should be: within 3 / sqrt(15).
    place = at(calibrator.summaries, "mean", "age")
    assert abs(records[-1].found[place]) < 0.8


def test_what_is_written_is_what_is_remembered_as_asked(
    calibrator: Calibrator, real: Measured
) -> None:
    states, records = play(calibrator, real, 15.0, 3)
    summaries = calibrator.summaries
    place, part = at(summaries, "mean", "age"), summaries.classes[0]
    remark = age_of(records[-1].text)
    said, seen = states[-1].said[place], states[-1].seen[place]
    assert part.centre[0] + part.scale[0] * said == pytest.approx(float(remark.target))
    assert part.centre[0] + part.scale[0] * seen == pytest.approx(float(remark.seen))


def test_a_control_moves_by_steps(calibrator: Calibrator, real: Measured) -> None:
    states, _ = play(calibrator, real, 15.0, 10)
    summaries, place = calibrator.summaries, at(calibrator.summaries, "mean", "age")
    for before, after in pairwise([calibrator.start(), *states]):
        reading = int(after.is_change)
        one, other = (asked_for(s, summaries.target)[reading][place] for s in (before, after))
        # Figures are rounded to a tenth of a year, a hundredth of a deviation.
        assert abs(other - one) <= 0.75 * summaries.unit[place] + 0.02


def test_a_control_stays_in_reach_of_its_target(calibrator: Calibrator, real: Measured) -> None:
    states, _ = play(calibrator, real, 40.0, 10)
    summaries, place = calibrator.summaries, at(calibrator.summaries, "mean", "age")
    asked = [float(s.said[place] - summaries.target[place]) for s in states]
    assert np.abs(asked).max() <= 2.01
    assert asked[-1] == pytest.approx(-2, abs=0.01)


def test_of_what_is_never_answered_nothing_more_is_said(
    calibrator: Calibrator, real: Measured
) -> None:
    _, records = play(calibrator, real, 15.0, 20, gain=0.0)
    control = [record.control[at(calibrator.summaries, "mean", "age")] for record in records]
    assert not np.isnan(control[0])
    assert np.isnan(control[-10:]).all()


def test_the_last_round_is_followed_by_nothing(calibrator: Calibrator, real: Measured) -> None:
    state = calibrator.start()
    for left in (2, 1, 0):
        state, record = calibrator.update(state, moved(real, 15, 15.0, left), left)
    assert (record.text, record.n_said) == ("", 0)


def test_a_state_survives_json_and_goes_on_the_same(calibrator: Calibrator, real: Measured) -> None:
    state = calibrator.start()
    for round_ in range(3):
        state, _ = calibrator.update(state, moved(real, 15, 15.0, round_), 9)
    text = json.dumps(state.to_record(), allow_nan=False)
    back = CalibrationState.from_record(json.loads(text))
    assert same(back, state)
    batch = moved(real, 11, 3.0, 77)
    assert same(calibrator.update(back, batch, 5)[0], calibrator.update(state, batch, 5)[0])


def test_update_changes_no_state_in_place(calibrator: Calibrator, real: Measured) -> None:
    state = calibrator.start()
    before = json.dumps(state.to_record())
    calibrator.update(state, moved(real, 15, 15.0, 0), 9, moved(real, 15, 0.0, 1))
    assert json.dumps(state.to_record()) == before


def test_an_empty_batch_teaches_nothing(calibrator: Calibrator, real: Measured) -> None:
    state = calibrator.start()
    after, record = calibrator.update(state, real.take(np.arange(0)), 9)
    assert (after.round, record.n_said, record.text) == (1, 0, "")
    assert np.array_equal(after.as_value.bias_variance, state.as_value.bias_variance)
    assert np.isnan(record.found).all()


def test_summaries_that_a_rule_speaks_of_have_the_tighter_prior(calibrator: Calibrator) -> None:
    items = calibrator.summaries.items
    ruled = {item for item in items if set(item.names) <= {"age"}}
    ratio = calibrator.start(ruled).prior_sd / calibrator.start().prior_sd
    assert [bool(r < 1) for r in ratio] == [item in ruled for item in items]


def test_only_classes_that_are_asked_for_are_spoken_of(
    calibrator: Calibrator, real: Measured
) -> None:
    state = calibrator.start()
    for round_ in range(3):
        state, _ = calibrator.update(state, moved(real, 15, 15.0, round_), 9)
    assert calibrator.said(state, ["b"]) == ""
    assert calibrator.said(state, ["a"]) == calibrator.said(state)


def test_no_class_gets_more_items_than_allowed(
    gauge: Gauge, real: Measured, summaries: Summaries
) -> None:
    settings = CalibrationSettings(max_items=1)
    calibrator = Calibrator(gauge, real, settings=settings, codes=CODES, class_name=name,
                            summaries=summaries)  # fmt: skip
    state = calibrator.start()
    batch = moved(real, 15, 25.0, 0)
    spoiled = Measured(batch.labels, batch.numbers + np.array([0, 5, 8e6, 3, 0]), batch.slots)
    for _ in range(3):
        state, record = calibrator.update(state, spoiled, 9)
    kinds = [remark.kind for remark in read_remarks(record.text)]
    assert len(kinds) == len(set(kinds)) > 0


def test_records_are_flat_rows_with_nothing_undefined(
    calibrator: Calibrator, real: Measured
) -> None:
    _, record = calibrator.update(calibrator.start(), moved(real, 15, 15.0, 0), 9)
    rows = record.rows(calibrator.summaries.items, calibrator.summaries.unit)
    assert len(rows) == len(calibrator.summaries)
    json.dumps(rows, allow_nan=False)
    age = rows[at(calibrator.summaries, "mean", "age")]
    assert (age["class"], age["kind"], age["columns"], age["values"]) == ("a", "mean", "age", "")
    assert age["bias_low"] < age["bias"] < age["bias_high"]


def test_every_kind_of_control_is_read_back_by_the_embedded_endpoint(
    gauge: Gauge, summaries: Summaries
) -> None:
    writer = ControlWriter(summaries, gauge, CODES, name)
    part = summaries.classes[0]
    ward = next(i for i, s in enumerate(summaries.items) if s.values == ("S",))
    missing = next(i for i, s in enumerate(summaries.items) if s.names == ("dose",) and s.values)
    sayings = [
        Saying(at(summaries, "mean", "age"), -1.0, 0.5),
        Saying(at(summaries, "mean", "seen on"), 0.0, 1.0),
        Saying(at(summaries, "std", "seen on"), np.log(0.5), 0.0),
        Saying(at(summaries, "correlation", "age", "dose"), np.arctanh(0.3), np.arctanh(0.75)),
        Saying(ward, np.arcsin(np.sqrt(0.25)), np.arcsin(np.sqrt(0.4))),
        Saying(missing, np.arcsin(np.sqrt(0.25)), np.arcsin(np.sqrt(0.25))),
    ]
    remarks = read_remarks(writer.write(sayings, [Shape("a", "dose", 0.41)]))
    days = f"{0.5 * part.scale[2] / 86_400:.1f} days"
    assert [(r.kind, r.letter, r.names) for r in remarks] == [
        ("mean", "A", ("age",)),
        ("mean", "A", ("seen on",)),
        ("std", "A", ("seen on",)),
        ("correlation", "A", ("age", "dose")),
        ("distribution", "A", ("dose",)),
        ("share", "A", ("ward", "ZUL")),
        ("share", "A", ("dose", "")),
    ]
    assert float(remarks[0].target) == pytest.approx(part.centre[0] - part.scale[0], abs=0.05)
    assert remarks[2].target == days
    assert remarks[3] == Remark("correlation", "A", ("age", "dose"), "0.30", "0.75")
    assert remarks[5] == Remark("share", "A", ("ward", "ZUL"), "0.25", "0.40")
    # Two equal figures are written once.
    assert (remarks[6].target, remarks[6].seen) == ("0.25", "")
    assert "Weaken correlation" in writer.write(sayings)


def test_a_figure_is_remembered_as_it_is_rounded(gauge: Gauge, summaries: Summaries) -> None:
    writer = ControlWriter(summaries, gauge, CODES, name)
    for place in np.flatnonzero(summaries.speakable):
        value = float(np.clip(0.3, summaries.low[place], summaries.high[place]))
        read = writer.as_read(int(place), value)
        assert writer.as_read(int(place), read) == pytest.approx(read, abs=1e-9)
        assert read == pytest.approx(value, abs=0.05)
