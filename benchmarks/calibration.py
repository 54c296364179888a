"""What feedback does to the rows of an endpoint with known flaws: none, Algorithm 1, calibrated.

    python benchmarks/calibration.py
    python benchmarks/calibration.py --table FILE --target COLUMN

Whole chains of 12 rounds and more (15 rows of every class a round) run against the embedded
sampler, called as a function: its means are shifted, its spreads too small, and its answer to
feedback is a share of what it was told that is drawn anew for every reply. Chains are paired: of
each random state all methods have the same codes, reference rows, and strength of every answer.
Rows are not refused for an implausible class: only `rddg_calibrated` would do that, and the rows
left would differ by more than by what was said. Its rules are checked, as always.

The second table is the same endpoint without bias or under-dispersion, where feedback can only
do harm.

Discrepancy. A summary is a mean, a log standard deviation, the Fisher z of a pair of numbers or
the arcsine square root of a category's share, within a class (`rddg_ray.calibration.summaries`).
Its discrepancy is the absolute difference between synthetic and real rows in units of its
standard deviation per real row, so that for a mean it is Cohen's d. It is averaged within each
of the four kinds, then over the kinds. The floor is that of as many rows drawn at random from
the real ones.

Overshoot. Of successive rounds of which the first is off by more than two standard deviations of
a batch of real rows, the share whose second is off by more than two on the other side.
Oscillation. The share of summaries (of all chains) that are off by as much on alternating sides
in four rounds running. Noise alone overshoots now and then: the chains without feedback show how
often.

The last line is one JSON object; discrepancies there are those of the whole output.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rddg_ray.calibration.summaries import Summaries
from rddg_ray.calibration.summary import Observation
from rddg_ray.chain_state import State
from rddg_ray.config import EmbeddedSettings, GenerationSettings, PlausibilitySettings
from rddg_ray.datasets import induce_imbalance, load
from rddg_ray.exchange import Completion, Prompt, Usage
from rddg_ray.llm.embedded.replying import reply
from rddg_ray.measuring import Floats, Gauge
from rddg_ray.novelty import Row
from rddg_ray.synthesis import Synthesis
from rddg_ray.table import Table, from_frame

METHODS = {"none": "rddg_no_feedback", "rddg": "rddg", "rddg_calibrated": "rddg_calibrated"}
KINDS = ("mean", "std", "correlation", "share")
_ROWS_A_ROUND = 15
_LAST = 4  # rounds
_FAR = 2.0  # standard deviations of a batch


@dataclass(frozen=True)
class Played:
    """What one chain came to.

    Attributes:
        whole: Discrepancy of the whole output by kind, shape `(4,)`.
        last: That of the last four rounds.
        z: Deviations of each round in standard deviations of a batch of real rows, shape
            `(n_rounds, n_summaries)`; NaN where a summary is not defined.
        n_tokens: Estimated tokens of prompts and replies.
        n_rows: Rows accepted.
    """

    whole: Floats
    last: Floats
    z: Floats
    n_tokens: float
    n_rows: int


class Bench:
    """Plays chains over one table."""

    def __init__(self, table: Table, n_rounds: int, gain_noise: float) -> None:
        self.table = table
        self.n_rounds = n_rounds
        self._gain_noise = gain_noise
        self.gauge = Gauge(table.features, table.classes)
        self.real = self.gauge.of_frame(table.frame, list(table.labels))
        self.summaries = Summaries(self.gauge, self.real)
        self._kinds = np.array([item.kind for item in self.summaries.items])

    def study(self, method: str, chain: int) -> Synthesis:
        """Return a chain of a method."""
        targets = dict.fromkeys(self.table.classes, _ROWS_A_ROUND * self.n_rounds)
        settings = GenerationSettings(
            request_rows_per_class=_ROWS_A_ROUND,
            plausibility=PlausibilitySettings(enabled=False),
        )
        return Synthesis(
            self.table, None, settings, method=method, random_state=chain, targets=targets
        )

    def play(self, method: str, flaws: EmbeddedSettings, chain: int) -> Played:
        """Return what a chain comes to."""
        study, n_tokens = self.study(method, chain), 0.0
        state = study.start()
        while not study.is_done(state):
            settings = self._answering(flaws, chain, state.round)
            prompts = study.ask(state)
            answers = [_answer(prompt, settings) for prompt in prompts]
            n_tokens += sum(_n_tokens(p, a) for p, a in zip(prompts, answers, strict=True))
            state, _ = study.tell(state, answers)
        return self._measured(state, n_tokens)

    def floor(self, n_rounds: int, n_draws: int = 40) -> Floats:
        """Return the discrepancy of as many rows drawn from the real ones, by kind."""
        rng = np.random.default_rng(0)
        found = []
        for _ in range(n_draws):
            drawn = [
                rng.choice(np.flatnonzero(self.real.labels == at), _ROWS_A_ROUND * n_rounds)
                for at in range(len(self.table.classes))
            ]
            rows = self.real.take(np.concatenate(drawn))
            found.append(self._by_kind(self.summaries.observe(self.summaries.totals(rows))))
        means: Floats = np.mean(found, axis=0)
        return means

    def _answering(self, flaws: EmbeddedSettings, chain: int, round_: int) -> EmbeddedSettings:
        drawn = np.random.default_rng([chain, round_]).normal(flaws.gain, self._gain_noise)
        return flaws.model_copy(update={"gain": max(float(drawn), 0.0), "random_state": chain})

    def _measured(self, state: State, n_tokens: float) -> Played:
        rounds = sorted({batch.round for batch in state.accepted})
        parts = [[row for b in state.accepted if b.round == at for row in b.values]
                 for at in rounds]  # fmt: skip
        totals = [self._totals(rows) for rows in parts]
        observe = self.summaries.observe
        batches = [observe(part) for part in totals]
        return Played(
            self._by_kind(observe(np.sum(totals, axis=0))),
            self._by_kind(observe(np.sum(totals[-_LAST:], axis=0))),
            np.array([_z(batch) for batch in batches]),
            n_tokens,
            sum(map(len, parts)),
        )

    def _totals(self, rows: Sequence[Row]) -> Floats:
        return self.summaries.totals(self.gauge.of_rows(list(rows)))

    def _by_kind(self, found: Observation) -> Floats:
        known = np.isfinite(found.variance) & self.summaries.speakable
        size = np.abs(found.deviation) / self.summaries.unit
        kinds = [known & (self._kinds == kind) for kind in KINDS]
        return np.array([size[kind].mean() if kind.any() else np.nan for kind in kinds])


def _answer(prompt: Prompt, settings: EmbeddedSettings) -> Completion:
    text = reply([("system", prompt.system), ("user", prompt.user)], settings)
    return Completion(text, model="embedded-sampler", finish_reason="stop", usage=Usage())


def _n_tokens(prompt: Prompt, answer: Completion) -> float:
    return (len(prompt.system) + len(prompt.user) + len(answer.text)) / 4


def _z(found: Observation) -> Floats:
    known = np.isfinite(found.variance)
    z = found.deviation / np.sqrt(np.where(known, found.variance, 1.0))
    return np.where(known, z, np.nan)


def swings(played: Sequence[Played]) -> tuple[float, float]:
    """Return the overshoot rate and the share of summaries that oscillate."""
    n_off = n_over = 0
    oscillates = []
    for one in played:
        z = np.nan_to_num(one.z)
        side = np.where(np.abs(z) > _FAR, np.sign(z), 0.0)
        over = side[:-1] * side[1:] < 0
        n_off, n_over = n_off + int(np.count_nonzero(side[:-1])), n_over + int(over.sum())
        oscillates.append((over[:-2] & over[1:-1] & over[2:]).any(axis=0))
    return n_over / max(n_off, 1), float(np.mean(oscillates))


def default_table() -> Table:
    """Return a table of the package, with all four kinds of summaries and a rare class."""
    data = load("health_metrics")
    kept = induce_imbalance(data.frame, data.target, 5.0)
    frame = data.frame.iloc[kept].reset_index(drop=True)
    return from_frame(frame, data.target, name="health_metrics")


def _table(arguments: argparse.Namespace) -> Table:
    if arguments.dataset is not None:
        data = load(arguments.dataset)
        return from_frame(data.frame, data.target, name=arguments.dataset)
    if arguments.table is None:
        return default_table()
    frame = pd.read_csv(arguments.table, keep_default_na=False, na_values=["", "?", "NA", "NaN"])
    return from_frame(
        frame.dropna(axis=1, how="all"), arguments.target, name=Path(arguments.table).stem
    )


def _show(bench: Bench, played: dict[str, list[Played]]) -> dict[str, dict[str, float]]:
    columns = ("whole", *KINDS, "last 4", "overshoot", "oscillation", "tokens/row")
    print(f"{'':<17}" + "".join(f"{name:>13}" for name in columns))
    floor, floor_last = bench.floor(bench.n_rounds), bench.floor(_LAST)
    _line("floor", [np.nanmean(floor), *floor, np.nanmean(floor_last)])
    figures: dict[str, dict[str, float]] = {}
    for name, chains in played.items():
        kinds = np.mean([one.whole for one in chains], axis=0)
        last = np.mean([one.last for one in chains], axis=0)
        overshoot, oscillation = swings(chains)
        tokens = sum(one.n_tokens for one in chains) / sum(one.n_rows for one in chains)
        whole = float(np.nanmean(kinds))
        _line(name, [whole, *kinds, np.nanmean(last), overshoot, oscillation], tokens)
        shown = {"discrepancy": whole, "overshoot_rate": overshoot, "tokens_per_row": tokens}
        for key, value in shown.items():
            figures.setdefault(key, {})[name] = round(float(value), 4)
    _compare(played)
    return figures


def _line(name: str, values: Sequence[float | np.floating], tokens: float | None = None) -> None:
    shown = "".join(f"{float(value):>13.4f}" for value in values)
    print(f"{name:<17}{shown}" + ("" if tokens is None else f"{tokens:>13.1f}"))


def _compare(played: dict[str, list[Played]]) -> None:
    """Print the paired differences, with their standard errors over chains."""
    whole = {n: np.nanmean([c.whole for c in chains], axis=1) for n, chains in played.items()}
    mine = whole["rddg_calibrated"]
    for name in ("none", "rddg"):
        difference = mine - whole[name]
        error = difference.std(ddof=1) / np.sqrt(len(mine)) if len(mine) > 1 else np.nan
        print(
            f"calibrated against {name}: {1 - mine.mean() / whole[name].mean():+.0%} better "
            f"({difference.mean():+.4f} +- {error:.4f}), in {np.mean(difference < 0):.0%} of chains"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chains", type=int, default=20, help="chains of each method")
    parser.add_argument("--rounds", type=int, default=12, help="rounds of a chain, at least")
    parser.add_argument("--bias", type=float, default=0.5, help="shift of means, in sd")
    parser.add_argument("--dispersion", type=float, default=0.7, help="factor on spreads")
    parser.add_argument("--gain", type=float, default=0.7, help="mean share that is followed")
    parser.add_argument("--gain-noise", type=float, default=0.3, help="its sd over replies")
    parser.add_argument("--table", help="a CSV file instead of the bundled table")
    parser.add_argument("--dataset", help="a data set of the package instead, such as wine")
    parser.add_argument("--target", help="the file's class column")
    arguments = parser.parse_args()
    if arguments.table is not None and arguments.target is None:
        parser.error("--table needs --target")
    return arguments


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    table = _table(arguments)
    bench = Bench(table, arguments.rounds, arguments.gain_noise)
    print(
        f"{table.name}: {len(table.frame)} rows, {len(table.features)} features, "
        f"{len(table.classes)} classes; {arguments.chains} chains a method, at least "
        f"{arguments.rounds} rounds of {_ROWS_A_ROUND} rows a class"
    )
    flawed = EmbeddedSettings(
        bias=arguments.bias, dispersion=arguments.dispersion, gain=arguments.gain
    )
    faithful = flawed.model_copy(update={"bias": 0.0, "dispersion": 1.0})
    results = []
    for flaws in (flawed, faithful):
        print(
            f"\nbias {flaws.bias} sd, spread x {flaws.dispersion}, gain {flaws.gain} +- "
            f"{arguments.gain_noise}"
        )
        played = {
            name: [bench.play(method, flaws, chain) for chain in range(arguments.chains)]
            for name, method in METHODS.items()
        }
        results.append(_show(bench, played))
    print(
        "\novershoot: share of summaries off by over 2 sd of a batch of real rows that are off by "
        "as much on the other side a round later\noscillation: share of summaries that are so in "
        "four rounds running, from side to side"
    )
    print(json.dumps(results[0]))


if __name__ == "__main__":
    main()
