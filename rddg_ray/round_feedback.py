"""What the next round is told of the last one, by each method's kind of feedback."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from rddg_ray.batches import Positions
from rddg_ray.calibration.calibrator import Calibrator
from rddg_ray.calibration.diagnostics import CalibrationRecord
from rddg_ray.calibration.rates import AcceptanceRate
from rddg_ray.calibration.state import CalibrationState
from rddg_ray.chain_rules import ruled
from rddg_ray.chain_state import State
from rddg_ray.codes import Codes
from rddg_ray.config import GenerationSettings
from rddg_ray.feedback import FeedbackWriter
from rddg_ray.measuring import Measured
from rddg_ray.method_parts import MethodParts
from rddg_ray.novelty import Row
from rddg_ray.quality import Quality, compare
from rddg_ray.rule_replies import RulesReader
from rddg_ray.sifting import Sieve
from rddg_ray.table_models import TableModels

# Share of a class's own real rows that the models refuse at most (`plausibility`), and how rarely
# a batch of such rows may be spoken of: nothing is said of noise.
_NATURAL_SHARE, _LEVEL = 0.025, 0.1


@dataclass(frozen=True)
class Report:
    """What is said and what it was said of.

    Attributes:
        text: For the next prompts; empty where there is nothing to say.
        quality: The batch against its reference; None where Algorithm 1 compared nothing.
        calibration: Where calibration stands; None without it.
        record: What it learned; None where it learned nothing.
    """

    text: str
    quality: Quality | None = None
    calibration: CalibrationState | None = None
    record: CalibrationRecord | None = None


class RoundFeedback:
    """Writes the report on a round.

    NOTE[DIFF]: Algorithm 1 compares the last batch with its reference rows by fixed thresholds
    and restates the targets; the calibrated form pools all rounds, compares with every training
    row of the class, says only what the rounds cannot be by chance, and moves what it asks for
    by what the endpoint is known to make of it.
    """

    def __init__(
        self,
        parts: MethodParts,
        models: TableModels,
        settings: GenerationSettings,
        *,
        codes: Codes,
        class_name: Callable[[str], str],
        rules: RulesReader,
        target: str,
    ) -> None:
        """Prepare a chain.

        Args:
            parts: Of its method.
            models: Of its table.
            settings: Of its run.
            codes: What stands for category values in prompts.
            class_name: How prompts name a class.
            rules: Says which rules were broken, in words.
            target: Name of the class column.
        """
        self._kind = parts.feedback
        self._models = models
        self._settings = settings
        self._codes = codes
        self._class_name = class_name
        self._rules = rules
        self._target = target
        self._writer = FeedbackWriter(models.gauge, settings.feedback, codes, class_name)

    def after(
        self,
        state: State,
        sieve: Sieve,
        shown: Sequence[Positions],
        needs: Mapping[str, int],
        rounds_left: int,
    ) -> Report:
        """Return the report on a round.

        Args:
            state: Before the round.
            sieve: That sifted its replies.
            shown: Positions of the real rows that its prompts showed.
            needs: Rows of each class that lack now.
            rounds_left: Rounds still to come, as far as can be told.
        """
        if self._kind == "none":
            return Report("")
        if self._kind == "algorithm1":
            quality = self._quality(sieve.fresh, shown)
            text = self._writer.write(quality) if quality else ""
            return Report(self._joined(text, state, sieve), quality)
        record, now = None, self._calibration(state)
        if sieve.fresh:
            # What is calibrated is the output, so it learns of the rows that the sieve lets
            # through, surplus included: a bias that refusals cure needs no words, and one that
            # they cause (the bold rows of a class are the less plausible) does.
            batch = self._models.gauge.of_rows(sieve.fresh)
            now, record = self._calibrator.update(now, batch, rounds_left, self._real(shown))
        labels = [label for label, need in needs.items() if need > 0]
        text = self._joined(self._calibrator.said(now, labels), state, sieve)
        return Report(text, calibration=now, record=record)

    def _calibration(self, state: State) -> CalibrationState:
        if state.calibration is not None:
            return state.calibration
        items = self._models.summaries.items
        return self._calibrator.start(ruled(state.rules, items, self._target))

    @cached_property
    def _calibrator(self) -> Calibrator:
        # Made in the first round of rows: a chain that only shows its prompts needs none.
        return Calibrator(
            self._models.gauge,
            self._models.real,
            settings=self._settings.calibration,
            codes=self._codes,
            class_name=self._class_name,
            summaries=self._models.summaries,
        )

    def _real(self, shown: Sequence[Positions]) -> Measured:
        return self._models.real.take(np.unique(np.concatenate(shown)))

    def _quality(self, rows: Sequence[Row], shown: Sequence[Positions]) -> Quality | None:
        """Return the round's new rows against all that its prompts showed."""
        if not rows:
            return None
        gauge = self._models.gauge
        return compare(self._real(shown), gauge.of_rows(rows), gauge)

    def _joined(self, report: str, state: State, sieve: Sieve) -> str:
        """Return the report with the rules that rows broke, and classes that are not believable."""
        lines = [report] if report else []
        if sieve.broken:
            broken = self._rules.broken_lines(sieve.broken, sieve.n_held, state.rules)
            lines += ["Rules:", *broken]
        if unlikely := self._unlikely_lines(sieve):
            lines += ["Classes:", *unlikely]
        return "\n".join(lines)

    def _unlikely_lines(self, sieve: Sieve) -> list[str]:
        classes = self._models.gauge.classes
        lines = []
        for label in classes:
            n_refused, n_rows = sieve.implausible[label], sieve.n_judged[label]
            if not n_refused or not _is_more_than_natural(n_refused, n_rows):
                continue
            others = [self._class_name(other) for other in classes if other != label]
            like = f"rows of class {others[0]}" if len(others) == 1 else "rows of another class"
            lines.append(
                f"- {n_refused} of {n_rows} rows of class {self._class_name(label)} read like "
                f"{like} and were refused: keep to what sets the class apart."
            )
        return lines


def _is_more_than_natural(n_refused: int, n_rows: int) -> bool:
    """Return whether real rows of the class would hardly have so many refused."""
    fewer = sum(
        math.comb(n_rows, k) * _NATURAL_SHARE**k * (1 - _NATURAL_SHARE) ** (n_rows - k)
        for k in range(n_refused)
    )
    return 1 - fewer <= _LEVEL


def acceptance(state: State, label: str) -> AcceptanceRate:
    """Return what is known of the share of a class's rows that can be taken.

    Rows that were asked for and did not come count as refused; rows that came too many do not.
    """
    good = state.counts.get(label, 0) + state.surplus.get(label, 0)
    return AcceptanceRate(good, max(state.asked.get(label, 0) - good, 0))


def wanted(state: State, needs: Mapping[str, int], most: int) -> dict[str, int]:
    """Return how many rows of each class to ask for, `most` at most, by its acceptance rate."""
    # A need of `most` or more is asked for to the full, whatever the rate.
    return {
        label: most if need >= most else _request(acceptance(state, label), need, most)
        for label, need in needs.items()
    }


@lru_cache(maxsize=4096)
def _request(rate: AcceptanceRate, need: int, most: int) -> int:
    return rate.request(need, most=most)


def rounds_left(state: State, needs: Mapping[str, int], rows_per_round: int) -> int:
    """Return how many more rounds the classes will take, each at its acceptance rate."""
    # Not bounded by the round limit: that may be raised later, and a replay knows none.
    return max(
        (math.ceil(need / (rows_per_round * acceptance(state, label).mean))
         for label, need in needs.items() if need > 0),
        default=0,
    )  # fmt: skip
