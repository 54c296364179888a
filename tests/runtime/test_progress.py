"""What a run says of itself while it works."""

from __future__ import annotations

import io
import json
import signal
import threading

import pytest
from rich.console import Console

from rddg_ray.config import BudgetSettings, EndpointSettings
from rddg_ray.exchange import Usage
from rddg_ray.llm.budget import LocalLedger
from rddg_ray.llm.limiter import LocalPacer
from rddg_ray.llm.spending import Amount, Spent
from rddg_ray.runtime.chains import ChainSpec
from rddg_ray.runtime.executor import ChainProgress, Traffic
from rddg_ray.runtime.pace import Pace
from rddg_ray.runtime.panel import TerminalProgress
from rddg_ray.runtime.progress import FlightCounter, JsonProgress, RowFigures
from rddg_ray.runtime.spending import Spending, spending_lines
from rddg_ray.runtime.stopping import StopNow, StopRequest
from rddg_ray.runtime.traffic import traffic_of
from rddg_ray.runtime.wording import duration, usd

FIGURES = {
    "rounds": 340, "refused": 57, "calls": 420, "in_flight": 64, "requests_per_minute": 2890,
    "request_limit": 3000, "tokens_per_minute": 1234567, "token_limit": 2000000,
    "spent_calls": 430, "max_calls": 5000, "spent_tokens": 823456, "cost_usd": 1.234,
    "projected_usd": 4.1, "max_cost_usd": 5.0, "time_left_s": 754,
}  # fmt: skip


class Steps:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []
        self.notes = []

    def update(self, step, done, total, **figures):
        self.told.append((step, done, total, figures))

    def note(self, text):
        self.notes.append(text)


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def test_the_time_left_is_what_the_rows_that_lack_take_at_the_recent_pace():
    pace = Pace()
    pace.tell(0.0, 0, 0)
    # 15 rows every 5 s at 0.3 US$, from 10 s on: 3 rows/s and 0.02 US$/row.
    for step in range(1, 7):
        pace.tell(5.0 + 5.0 * step, 15 * step, 2 + step, 1.0 + 0.3 * step)
    assert pace.time_left_s(390) == pytest.approx((390 - 90) / 3)
    assert pace.projected_usd(390) == pytest.approx(1.0 + 0.3 * 6 + 300 * 0.02)


def test_nothing_is_said_of_the_time_left_in_the_first_seconds():
    pace = Pace()
    pace.tell(0.0, 0, 0)
    for step in range(1, 10):
        pace.tell(float(step), 10 * step, step)
        assert pace.time_left_s(1000) is None
        assert pace.projected_usd(1000) is None
    pace.tell(11.0, 100, 11)
    assert pace.time_left_s(1000) == pytest.approx(100.0)


def test_rows_replayed_from_the_journal_do_not_count_as_pace():
    pace = Pace()
    pace.tell(0.0, 0, 500)
    for step in range(1, 20):  # 10,000 rows in 20 s, none of which a new call made
        pace.tell(float(step), 500 * step, 500)
    assert pace.time_left_s(20_000) is None
    for step in range(1, 6):
        pace.tell(20.0 + 10.0 * step, 9_500 + 10 * step, 500 + step)
    assert pace.time_left_s(9_650) == pytest.approx(100.0)


def test_the_time_left_grows_while_no_row_comes_and_then_is_not_known():
    pace = Pace()
    pace.tell(0.0, 0, 0)
    for step in range(1, 6):
        pace.tell(10.0 * step, 10 * step, step)
    assert pace.time_left_s(90) == pytest.approx(40.0)
    pace.tell(90.0, 50, 6)
    assert pace.time_left_s(90) == pytest.approx(80.0)
    pace.tell(400.0, 50, 6)
    assert pace.time_left_s(90) is None


def row_figures(clock, steps, has_prices=True):
    specs = [ChainSpec("t", "epic", 0, index, {"ill": 100}) for index in range(2)]
    return RowFigures(specs, steps, has_prices, clock)


def test_the_figures_of_rows_are_sums_over_chains_beside_the_traffic():
    steps = Steps()
    chains = {"t/a": ChainProgress(3, 30, 2, 5), "t/b": ChainProgress(4, 40, 1, 4)}
    traffic = Traffic(50.4, 9000.0, 60, None, 7, 12, 3456, 0.0123456, None, None, 0.5)
    row_figures(Clock(), steps)(chains, traffic)
    [(step, done, total, figures)] = steps.told
    assert (step, done, total) == ("rows", 70, 200)
    assert figures == {
        "rounds": 7, "refused": 3, "calls": 9, "requests_per_minute": 50, "request_limit": 60,
        "tokens_per_minute": 9000, "in_flight": 7, "spent_calls": 12, "spent_tokens": 3456,
        "cost_usd": 0.012346, "max_cost_usd": 0.5,
    }  # fmt: skip


def test_a_chain_that_is_not_heard_of_for_a_moment_takes_nothing_back():
    steps = Steps()
    tell = row_figures(Clock(), steps)
    tell({"t/a": ChainProgress(3, 30, 2, 5), "t/b": ChainProgress(4, 40, 1, 4)}, None)
    tell({"t/a": ChainProgress(4, 45, 2, 6)}, None)
    assert steps.told[-1] == ("rows", 85, 200, {"rounds": 8, "refused": 3, "calls": 10})


def test_money_is_not_spoken_of_without_prices():
    steps = Steps()
    row_figures(Clock(), steps, has_prices=False)({}, Traffic(cost_usd=0.0, max_cost_usd=1.0))
    assert not {"cost_usd", "projected_usd", "max_cost_usd"} & steps.told[0][3].keys()


def test_traffic_is_what_pacer_and_ledger_know():
    budget = BudgetSettings(max_calls=9, prompt_usd_per_million=1.0, completion_usd_per_million=2.0)
    settings = EndpointSettings(budget=budget, limits={"requests_per_minute": 60})
    ledger = LocalLedger(budget, Spent(Usage(3, 1_000_000, 500_000)))
    traffic = traffic_of(LocalPacer(settings.limits).snapshot(), ledger.snapshot(), budget)
    assert traffic == Traffic(
        request_limit=60, n_calls=3, n_tokens=1_500_000, cost_usd=2.0, max_calls=9
    )
    assert ledger.snapshot().reserved == Amount()


def test_json_lines_come_every_30_s_and_at_a_steps_end_once():
    stream, clock = io.StringIO(), Clock()
    progress = JsonProgress(stream, clock)
    for second in range(100):
        clock.now_s = 100.0 + second
        progress.update("rows", second, 100, rounds=second)
    progress.update("rows", 100, 100, rounds=100)
    progress.update("rows", 100, 100, rounds=100)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["done"] for line in lines] == [0, 30, 60, 90, 100]
    assert lines[1].keys() == {"time_unix_s", "step", "done", "total", "rounds"}


def panel(width, encoding="utf-8", **options):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding, write_through=True)
    console = Console(file=file, width=width, force_terminal=True, **options)
    with TerminalProgress(console) as progress:
        progress.update("coresets", 2, 2)
        progress.update("rows", 1234, 4000, **FIGURES)
        progress.update("gather", 0, 2)
        progress.note("stopping: 3 calls in flight [bold]")
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [120, 80])
def test_the_panel_shows_every_figure_on_lines_of_its_own(width):
    text = panel(width, color_system=None)
    for words in (
        "1,234/4,000",
        "rows accepted 1,234, refused 57; rounds 340; calls 420, in flight 64",
        "per minute: 2,890 of 3,000 requests, 1,234,567 of 2,000,000 tokens",
        "spent: 430 of 5,000 calls, 823,456 tokens",
        "money: US$1.23 spent, US$4.10 projected, cap US$5.00",
        "time left about 12 min 34 s",
        "rddg: stopping: 3 calls in flight [bold]",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= width + len("\x1b[?25l\x1b[2K\r")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_the_panel_works_where_there_is_no_utf_8(encoding):
    text = panel(80, encoding, color_system=None)
    assert text.isascii()
    assert "+------" in text
    assert "1,234/4,000" in text


def test_a_narrow_panel_keeps_its_figures_and_drops_its_frame():
    text = panel(30, color_system=None)
    assert "1,234/4,000" in text
    assert "money: US$1.23 spent" in text
    assert "╭" not in text


def test_how_many_calls_are_in_flight_is_said_where_it_is_known():
    steps = Steps()
    counter = FlightCounter(steps)
    counter.say_stopping()
    counter.update("rows", 1, 2, in_flight=5)
    counter.say_stopping()
    assert steps.told == [("rows", 1, 2, {"in_flight": 5})]
    assert steps.notes == [
        "stopping: after the step under way; press Ctrl-C again to stop now",
        "stopping: 5 calls in flight; press Ctrl-C again to stop now",
    ]


@pytest.mark.parametrize(("first", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_the_first_signal_is_a_request_and_the_second_an_order(first, code):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    heard = threading.Event()
    with StopRequest(heard.set).handling() as request:
        assert not request.is_made
        signal.raise_signal(first)
        assert heard.wait(30)
        assert request.is_made
        assert request.exit_code == code
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(StopNow) as ended:
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.code == 75
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_spending_is_told_with_what_a_row_took():
    spending = Spending(50, 12, 4000, 1000, 500, 1, 0.25, 0.5, 100.0, 0.005)
    assert spending_lines(spending, 125.0) == [
        "Calls 12, prompt tokens 4000 (500 cached), completion tokens 1000, possibly paid twice 1",
        "Cost US$0.2500, at most US$0.5000",
        "For each of 50 accepted rows: 100 tokens, US$0.005000",
        "Time 2 min 05 s",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (9000, "2 h 30 min"),
    ],
)
def test_a_duration_has_two_units(seconds, text):
    assert duration(seconds) == text


def test_smaller_amounts_have_more_digits():
    assert [usd(amount) for amount in (0, 0.0000126, 0.5, 1234.5)] == [
        "US$0.0000", "US$0.000013", "US$0.5000", "US$1,234.50",
    ]  # fmt: skip
