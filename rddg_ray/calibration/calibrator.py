"""Calibration of one chain: from what came back to what is said next."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from rddg_ray.calibration.checking import Bools, bias_p_values, discoveries, shape_p_values
from rddg_ray.calibration.choosing import worst
from rddg_ray.calibration.diagnostics import CalibrationRecord
from rddg_ray.calibration.learning import asked_for, follow, learn
from rddg_ray.calibration.pooling import Kinds, pooled
from rddg_ray.calibration.posterior import Posterior, make_up
from rddg_ray.calibration.state import FIRST_EVIDENCE, CalibrationState
from rddg_ray.calibration.summaries import Summaries
from rddg_ray.calibration.summary import Observation, Summary
from rddg_ray.calibration.wording import ControlWriter, Saying, Shape
from rddg_ray.codes import Codes
from rddg_ray.config import CalibrationSettings
from rddg_ray.measuring import Floats, Gauge, Ints, Measured

# One round is asked for no smaller share than this of the real variance.
_LEAST_RATIO = 0.25


class Calibrator:
    """Learns an endpoint's bias and gain, and says what brings its rows to the target.

    Attributes:
        summaries: What is compared.
    """

    def __init__(
        self,
        gauge: Gauge,
        real: Measured,
        *,
        settings: CalibrationSettings,
        codes: Codes,
        class_name: Callable[[str], str],
        summaries: Summaries | None = None,
    ) -> None:
        """Prepare a table.

        Args:
            gauge: The gauge that measured the rows.
            real: All training rows.
            settings: How to calibrate.
            codes: What stands for category values in prompts.
            class_name: How prompts name a class (`PromptWriter.class_name`).
            summaries: Those of the same gauge and rows, to be shared by many chains: what real
                rows give is drawn once. Made anew by default.
        """
        self.summaries = summaries or Summaries(gauge, real, rare_share=settings.rare_share)
        self._gauge = gauge
        self._settings = settings
        self._writer = ControlWriter(self.summaries, gauge, codes, class_name)
        # Any endpoint can move a mean; a spread or a correlation that it cannot move speaks for the
        # reading that asks for less.
        self._is_mean = np.array([s.kind == "mean" for s in self.summaries.items], dtype=np.bool_)
        self._kinds = Kinds.of(self.summaries)
        self._nobody = real.take(np.zeros(0, dtype=np.int64))
        self._real = [real.numbers[real.labels == at] for at in range(len(gauge.classes))]

    def start(self, ruled: Collection[Summary] = ()) -> CalibrationState:
        """Return the state before any round: nothing is known and nothing said.

        Args:
            ruled: Summaries that a verified rule speaks of; they get the tighter prior, because
                the endpoint is told the rule and rows that break it are refused.
        """
        settings, nothing = self._settings, np.zeros(len(self.summaries))
        known = frozenset(ruled)
        is_ruled = np.array([item in known for item in self.summaries.items], dtype=np.bool_)
        scale = np.where(is_ruled, settings.ruled_prior_scale, settings.prior_scale)
        prior = Posterior.prior(scale * self.summaries.unit, settings.gain_sd)
        return CalibrationState(
            round=0,
            prior_sd=scale * self.summaries.unit,
            as_value=prior,
            as_change=prior,
            change_evidence=FIRST_EVIDENCE,
            follow_sum=0.0,
            follow_weight=0.0,
            totals=self.summaries.totals(self._nobody),
            n_told=nothing,
            said=nothing + np.nan,
            seen=nothing + np.nan,
        )

    def update(
        self,
        state: CalibrationState,
        batch: Measured,
        rounds_left: int,
        reference: Measured | None = None,
    ) -> tuple[CalibrationState, CalibrationRecord]:
        """Return the state and the record after a round.

        Args:
            state: The state whose `said` the round's prompts carried.
            batch: The round's rows; classes without rows teach nothing.
            rounds_left: Rounds still to come, as far as can be told.
            reference: The real rows that the prompts showed; None where they showed none.
        """
        totals = self.summaries.totals(batch)
        found = self.summaries.observe(totals)
        shown = None if reference is None else self._observed(reference)
        learned = learn(
            state,
            found,
            shown,
            target=self.summaries.target,
            telling=self._is_mean,
            settings=self._settings,
        )
        learned = replace(learned, totals=state.totals + totals)
        whole = self.summaries.observe(learned.totals)
        beliefs = pooled(learned.posterior, learned.prior_sd, self._settings.gain_sd, self._kinds)
        p_values, testable = self._p_values(learned, beliefs)
        shapes, shape_p, shape_usable = self._shapes(batch, learned, reference)
        fallen = discoveries(
            np.concatenate([p_values, shape_p]),
            np.concatenate([testable, shape_usable]),
            self._settings.level,
        )
        # After the last round there is nobody to tell.
        fallen &= rounds_left > 0
        chosen = worst(self.summaries, beliefs, fallen[: len(p_values)], self._settings)
        told = self._say(state, learned, beliefs, chosen, self._aim(learned, whole, rounds_left))
        told = replace(told, shapes=self._named(shapes, fallen[len(p_values) :], chosen))
        return told, self._record(state, told, beliefs, (found, whole), p_values)

    def said(self, state: CalibrationState, labels: Collection[str] | None = None) -> str:
        """Return what the next round's prompts say, without a final newline; may be empty.

        Args:
            state: Where calibration stands.
            labels: Classes that the prompts ask for rows of; all by default.
        """
        sayings = [
            Saying(int(at), float(state.said[at]), float(state.seen[at]))
            for at in np.flatnonzero(~np.isnan(state.said))
            if labels is None or self.summaries.items[at].label in labels
        ]
        shapes = [s for s in state.shapes if labels is None or s.label in labels]
        # Largest control first, so that the worst is read first.
        moved = np.abs(state.said - self.summaries.target) / self.summaries.unit
        sayings.sort(key=lambda saying: -moved[saying.at])
        return self._writer.write(sayings, shapes)

    def _observed(self, rows: Measured) -> Observation:
        return self.summaries.observe(self.summaries.totals(rows))

    def _p_values(self, state: CalibrationState, beliefs: Posterior) -> tuple[Floats, Bools]:
        testable = self.summaries.speakable & (state.n_told > 0)
        _, most = beliefs.gain_interval(self._settings.interval)
        testable &= most >= self._settings.min_gain
        return bias_p_values(beliefs, state.prior_sd**2, testable), testable

    def _aim(self, state: CalibrationState, whole: Observation, rounds_left: int) -> Floats:
        """Return the deviation from the target that makes up for the rounds before."""
        is_spread = np.array([s.kind == "std" for s in self.summaries.items], dtype=np.bool_)
        # Of several batches variances add up, not log standard deviations.
        deviation = np.where(is_spread, np.expm1(2 * whole.deviation) / 2, whole.deviation)
        aim = make_up(
            deviation * state.n_told,
            rounds_left,
            share=self._settings.make_up,
            bound=self._settings.make_up_bound * self.summaries.unit,
        )
        return np.where(is_spread, np.log(np.maximum(1 + 2 * aim, _LEAST_RATIO)) / 2, aim)

    def _say(
        self,
        before: CalibrationState,
        state: CalibrationState,
        posterior: Posterior,
        chosen: Ints,
        aim: Floats,
    ) -> CalibrationState:
        settings, summaries = self._settings, self.summaries
        asked = asked_for(before, summaries.target)[int(state.is_change)]
        level = summaries.target + posterior.bias + posterior.gain * asked
        origin = level if state.is_change else summaries.target
        step = settings.step * summaries.unit
        wanted = posterior.control(aim, settings.min_gain)
        control = origin + np.clip(wanted, asked - step, asked + step)
        said, seen = np.full(len(summaries), np.nan), np.full(len(summaries), np.nan)
        for at in chosen:
            low, high = summaries.low[at], summaries.high[at]
            said[at] = self._writer.as_read(at, float(np.clip(control[at], low, high)))
            seen[at] = self._writer.as_read(at, float(np.clip(level[at], low, high)))
        return replace(state, said=said, seen=seen)

    def _shapes(
        self, batch: Measured, state: CalibrationState, reference: Measured | None
    ) -> tuple[list[Shape], Floats, Bools]:
        """Return all class-column pairs with their statistics, p-values and use."""
        shapes: list[Shape] = []
        p_values, usable = [np.zeros(0)], [np.zeros(0, dtype=np.bool_)]
        share, _ = follow(state)
        for at, (label, real) in enumerate(zip(self._gauge.classes, self._real, strict=True)):
            n_shown = 0 if reference is None else int((reference.labels == at).sum())
            statistics, tails, enough = shape_p_values(
                real,
                batch.numbers[batch.labels == at],
                extra=share**2 / n_shown if n_shown else 0.0,
            )
            p_values.append(tails)
            usable.append(enough)
            shapes += [
                Shape(label, column.name, float(statistic))
                for column, statistic in zip(self._gauge.numbers, statistics, strict=True)
            ]
        return shapes, np.concatenate(p_values), np.concatenate(usable)

    def _named(self, shapes: list[Shape], fallen: Bools, chosen: Ints) -> tuple[Shape, ...]:
        """Return the shapes to name: those that no mean or spread that is said explains."""
        items = [self.summaries.items[at] for at in chosen]
        explained = {(s.label, s.names[0]) for s in items if s.kind in ("mean", "std")}
        off = [s for s, is_off in zip(shapes, fallen, strict=True)
               if is_off and (s.label, s.name) not in explained]  # fmt: skip
        wanted: list[Shape] = []
        most = self._settings.max_items
        room = {c: most - sum(item.label == c for item in items) for c in self._gauge.classes}
        for shape in sorted(off, key=lambda shape: -shape.statistic):
            if room[shape.label] > 0:
                room[shape.label] -= 1
                wanted.append(shape)
        return tuple(wanted)

    def _record(
        self,
        before: CalibrationState,
        state: CalibrationState,
        posterior: Posterior,
        seen: tuple[Observation, Observation],
        p_values: Floats,
    ) -> CalibrationRecord:
        target = self.summaries.target
        low, high = posterior.bias_interval(self._settings.interval)
        gain_low, gain_high = posterior.gain_interval(self._settings.interval)
        return CalibrationRecord(
            round=before.round,
            reading="change" if state.is_change else "value",
            follow=follow(state)[0],
            asked=before.said - target,
            found=_where_known(seen[0]),
            whole=_where_known(seen[1]),
            bias=posterior.bias,
            bias_low=low,
            bias_high=high,
            gain=posterior.gain,
            gain_low=gain_low,
            gain_high=gain_high,
            p_value=p_values,
            control=state.said - target,
            n_said=int((~np.isnan(state.said)).sum()),
            text=self.said(state),
        )


def _where_known(found: Observation) -> Floats:
    return np.where(np.isfinite(found.variance), found.deviation, np.nan)
