"""CPU time per call that a chain spends in our own code: ask, parse, measure, feed back, store.

    python benchmarks/overhead.py

A chain over a table of 17 columns asks for 30 rows a call (15 a class). Replies come from the
embedded sampler, called as a function; its own CPU time is taken out, so what is left is the
prompt, the parser, novelty, rules, plausibility, quality, feedback and the journal's commit to
disk. What is fitted once to a table is fitted before. The share of each is measured in the same
run. The last line is one JSON object with the dearest method's figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rddg_ray.chain_state import RoundInfo, State
from rddg_ray.config import GENERATIVE_METHODS, EmbeddedSettings, GenerationSettings
from rddg_ray.exchange import CallId, Completion, Prompt, Usage
from rddg_ray.llm.embedded.replying import reply
from rddg_ray.llm.journal import Journal
from rddg_ray.runtime.loop import run_study
from rddg_ray.synthesis import Synthesis
from rddg_ray.table import Table, from_frame
from rddg_ray.table_models import TableModels

_N_ROWS = 1000
_N_NUMERICAL, _N_CATEGORICAL = 8, 8


def make_table(random_state: int = 0) -> Table:
    """Return 1,000 rows of 8 numerical and 8 categorical columns and a class of two values."""
    rng = np.random.default_rng(random_state)
    labels = np.where(rng.random(_N_ROWS) < 0.2, "rare", "common")
    shift = np.where(labels == "rare", 1.0, 0.0)[:, None]
    numbers = rng.normal(50.0, 10.0, (_N_ROWS, _N_NUMERICAL)) + 8.0 * shift
    frame = pd.DataFrame({"label": labels})
    for column in range(_N_NUMERICAL):
        frame[f"measure_{column}"] = numbers[:, column].round(column % 3)
    for column in range(_N_CATEGORICAL):
        draws = rng.integers(0, 2 + column, _N_ROWS)
        frame[f"kind_{column}"] = [f"value {draw}" for draw in draws]
    return from_frame(frame, "label", name="overhead")


class Timed:
    """A chain whose steps are timed, one by one, in CPU seconds."""

    def __init__(self, study: Synthesis) -> None:
        self._study = study
        self.seconds = {"ask": 0.0, "tell": 0.0}

    def start(self) -> State:
        """See `Study`."""
        return self._study.start()

    def is_done(self, state: State) -> bool:
        """See `Study`."""
        return self._study.is_done(state)

    def ask(self, state: State) -> list[Prompt]:
        """See `Study`."""
        started = time.process_time()
        prompts = self._study.ask(state)
        self.seconds["ask"] += time.process_time() - started
        return prompts

    def tell(self, state: State, answers: Sequence[Completion]) -> tuple[State, RoundInfo]:
        """See `Study`."""
        started = time.process_time()
        told = self._study.tell(state, answers)
        self.seconds["tell"] += time.process_time() - started
        return told


def measure(n_calls: int, method: str, models: TableModels) -> tuple[dict[str, float], int, int]:
    """Return CPU milliseconds a call by part, calls made, and rows accepted."""
    table = make_table()
    n_before = 0 if method == "epic" else 2  # one call each for relations and rules
    n_rounds = n_calls - n_before
    settings = GenerationSettings(rows_per_class=15 * n_rounds, max_rounds=n_rounds)
    targets = dict.fromkeys(table.classes, 15 * n_rounds)
    study = Timed(
        Synthesis(
            table, None, settings, method=method, random_state=0, targets=targets, models=models
        )
    )
    answering = {"reply": 0.0, "journal": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), "benchmark", "overhead")

        async def answer(prompt: Prompt, round_: int, position: int) -> Completion:
            started = time.process_time()
            text = reply([("system", prompt.system), ("user", prompt.user)], EmbeddedSettings())
            replied = time.process_time()
            completion = Completion(text, "embedded-sampler", Usage(1))
            await journal.put(prompt, CallId("overhead", "benchmark", round_, position), completion)
            answering["reply"] += replied - started
            answering["journal"] += time.process_time() - replied
            return completion

        started = time.process_time()
        state = asyncio.run(run_study(study, answer))
        total = time.process_time() - started - answering.pop("reply")
        journal.close()
    seconds = {**study.seconds, **answering}
    seconds["loop"] = total - sum(seconds.values())
    seconds["all"] = total
    per_call = {part: 1000.0 * spent / state.n_calls for part, spent in seconds.items()}
    return per_call, state.n_calls, sum(state.counts.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=102, help="calls of the chain")
    parser.add_argument(
        "--method", action="append", choices=GENERATIVE_METHODS, help="may be given several times"
    )
    arguments = parser.parse_args()
    models = TableModels(make_table(), GenerationSettings())
    totals = {}
    for method in arguments.method or ["rddg_calibrated", "rddg"]:
        measure(arguments.calls, method, models)  # imports, caches, laws drawn once for a table
        per_call, n_calls, n_rows = measure(arguments.calls, method, models)
        totals[method] = round(per_call["all"], 3)
        print(f"{method}: {n_calls} calls, {n_rows} rows accepted, 30 rows x 17 columns a call")
        print(f"{'part':<10}{'CPU ms per call':>18}{'share':>9}")
        for part, milliseconds in per_call.items():
            print(f"{part:<10}{milliseconds:>18.2f}{milliseconds / per_call['all']:>9.0%}")
    print(json.dumps({"cpu_ms_per_call": max(totals.values()), "by_method": totals}))


if __name__ == "__main__":
    main()
