from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rddg_ray.errors import StoreError
from rddg_ray.evaluation.fits import DatasetRows, GridData, cells, fit_group, to_frame
from rddg_ray.evaluation.report.context import ReportContext
from rddg_ray.evaluation.report.page import write_report
from rddg_ray.evaluation.utility import METRICS
from rddg_ray.table import Table, conform, from_frame

PICTURES = ("associations", "associations-all", "columns", "columns-all", "differences",
            "likeness", "likeness-all")  # fmt: skip
HOSTILE = "<script>alert('x')</script>"
MakeRows = Callable[..., pd.DataFrame]


class Page(HTMLParser):
    """What a browser would see: elements, texts, addresses it would ask for."""

    _EMPTY = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.names: set[str] = set()
        self.open: list[str] = []
        self.unclosed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.names.add(name)
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.addresses.append(str(value))
        if tag not in self._EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self._EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def fitted(datasets: dict[str, DatasetRows], methods: list[str]) -> pd.DataFrame:
    data = GridData(datasets)
    listed = cells(data, methods=methods, generator_states=[0], classifiers=["lightgbm"],
                   classifier_states=[0, 1])  # fmt: skip
    return to_frame(fit_group(listed, data))


@pytest.fixture(scope="module")
def context(train: Table, test_rows: Table, make_rows: MakeRows) -> ReportContext:
    made = conform(make_rows(60, 5, rare_share=0.5), train, name="rddg")
    datasets = {"toy": DatasetRows(train, test_rows, {("rddg", 0): made, ("epic", 0): made})}
    return ReportContext(
        title="A run", fits=fitted(datasets, ["original", "smotenc", "rddg", "epic"]),
        datasets=datasets, model="embedded-sampler",
        endpoint="http://me:sk-secret@127.0.0.1:9/v1",
        rejects=pd.DataFrame({"dataset": "toy", "method": "rddg", "reason": ["copy", "repeat"],
                              "n": [7, 3]}),
        shortfalls=pd.DataFrame({"dataset": ["toy"], "method": ["rddg"], "generator_state": [0],
                                 "class": ["yes"], "wanted": [120], "made": [30],
                                 "why": ["max_rounds reached"]}),
        usage=pd.DataFrame({"dataset": ["toy"], "method": ["rddg"], "n_calls": [12],
                            "prompt_tokens": [34567], "completion_tokens": [890],
                            "cached_tokens": [0]}),
        settings={"random_state": 3}, versions={"xgboost": "3.2.0"}, created="today",
    )  # fmt: skip


@pytest.fixture(scope="module")
def run_dir(context: ReportContext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_report(folder, context)
    return folder


@pytest.fixture(scope="module")
def text(run_dir: Path) -> str:
    return (run_dir / "report" / "index.html").read_text("utf-8")


def test_the_page_stands_alone_with_tables_and_pictures_beside_it(run_dir: Path, text: str) -> None:
    path = run_dir / "report" / "index.html"
    page = Page(text)
    assert all(a.startswith(("#", "data:", "figures/")) for a in page.addresses)
    assert not re.search(r"@import|url\((?!#|\"?data:)", text)
    assert len(text.encode()) < 5_000_000
    assert page.open == [] == page.unclosed
    assert len(page.ids) == len(set(page.ids))
    tables = {p.name for p in (path.parent / "tables").iterdir()}
    assert {"metrics.csv", "fits.csv", "fidelity.csv", "privacy.csv", "rejects.csv"} <= tables
    pictures = sorted(p.name for p in (path.parent / "figures").iterdir())
    assert pictures == sorted(f"toy-{name}.{kind}" for name in PICTURES for kind in ("pdf", "png"))


def test_the_page_says_what_was_run_and_what_came_of_it(text: str) -> None:
    text = " ".join(Page(text).texts)
    for said in ("Made by a statistical sampler, not by a language model", "embedded-sampler",
                 "127.0.0.1:9", "yes: 40", "34,567", "max_rounds reached", "random_state",
                 "Against the original rows, rddg changes F1 by", "3.2.0",
                 "copies of real training rows"):  # fmt: skip
        assert said in text
    assert "sk-secret" not in text


def test_the_page_says_what_the_rows_give_away_and_how_to_read_each_figure(text: str) -> None:
    page = Page(text)
    text = " ".join(page.texts)
    for said in ("Do the rows give real people away?", "Finding nothing here is no proof",
                 "The rare class alone: ", "Membership attack AUC", "New real rows",
                 "Plain copies", "lower is better", "have a mean likeness of",
                 "Do the rows of the rare class look real?", "Do all rows look real?"):  # fmt: skip
        assert said in text


def test_privacy_figures_stand_in_a_csv_beside_what_real_rows_reach(run_dir: Path) -> None:
    privacy = pd.read_csv(run_dir / "report" / "tables" / "privacy.csv")
    assert {"rddg", "epic"} == set(privacy["method"])
    assert {"all", "rare"} == set(privacy["scope"])
    assert privacy[["ceiling", "floor"]].notna().all().all()


def test_a_language_models_rows_carry_no_sampler_banner(
    tmp_path: Path, context: ReportContext
) -> None:
    plain = replace(context, model="some-model", datasets={}, fits=pd.DataFrame())
    text = write_report(tmp_path, plain).read_text("utf-8")
    assert "statistical sampler" not in text


def test_every_table_has_a_caption_and_headings_and_every_picture_a_text(text: str) -> None:
    page = Page(text)
    assert page.tags.count("table") == page.tags.count("caption") >= 6
    assert '<th scope="col">' in text
    assert '<th scope="row">' in text
    assert (
        text.count('class="picture" role="img" aria-label="')
        == page.tags.count("figure")
        == len(PICTURES)
    )
    assert page.tags.count("h1") == 1
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_hostile_names_and_cells_are_shown_as_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.where(np.arange(60) < 15, "<b>rare</b>", "common $x$")
    frame = pd.DataFrame({
        HOSTILE: np.round(rng.normal(size=60), 2),
        "$\\frac{a}": rng.choice(["<i>", "数据", "a" * 300], 60),
        'x" onload="y': rng.integers(0, 9, 60) * 1.0, "</svg>": label,
    })  # fmt: skip
    train = from_frame(frame, "</svg>", name=HOSTILE)
    datasets = {HOSTILE: DatasetRows(train, train, {(HOSTILE, 0): train.take(range(30))})}
    context = ReportContext(
        title=HOSTILE, fits=fitted(datasets, ["original", HOSTILE]), datasets=datasets,
        model=HOSTILE, notes=(HOSTILE,), settings={HOSTILE: HOSTILE}, versions={HOSTILE: HOSTILE},
        rejects=pd.DataFrame({"dataset": [HOSTILE], "method": [HOSTILE], "reason": [HOSTILE],
                              "n": [1]}),
    )  # fmt: skip
    text = write_report(tmp_path, context).read_text("utf-8")
    page = Page(text)
    assert not {"script", "b", "i"} & set(page.tags)
    assert page.tags.count("svg") == len(PICTURES)
    assert page.open == [] == page.unclosed
    assert "onload" not in page.names
    assert any(HOSTILE in piece for piece in page.texts)


@pytest.mark.slow
def test_several_tables_have_an_overview_and_pictures_of_their_own(
    tmp_path: Path, context: ReportContext
) -> None:
    rows = context.datasets["toy"]
    datasets = {"a b": rows, "a/b": rows}
    fits = pd.concat([context.fits.assign(dataset=name) for name in datasets])
    path = write_report(tmp_path, ReportContext("Two", fits, datasets))
    page = Page(path.read_text("utf-8"))
    assert "All tables" in page.texts
    assert len(page.ids) == len(set(page.ids))
    assert len(list((path.parent / "figures").iterdir())) == 2 * 2 * len(PICTURES)


@pytest.mark.slow
def test_many_tables_stay_under_five_megabytes_and_link_the_rest(
    tmp_path: Path, context: ReportContext
) -> None:
    rows = context.datasets["toy"]
    fits = pd.concat([context.fits.assign(dataset=name) for name in ("one", "two")])
    two = ReportContext("Two", fits, {"one": rows, "two": rows})
    # The default limit holds dozens of tables; a small one shows the same with two.
    page = Page(write_report(tmp_path, two, max_picture_bytes=60_000).read_text("utf-8"))
    linked = [a for a in page.addresses if a.startswith("figures/")]
    assert 0 < page.tags.count("figure") < 2 * len(PICTURES)
    assert len(linked) == 2 * len(PICTURES) - page.tags.count("figure")
    assert all((tmp_path / "report" / address).is_file() for address in linked)


def test_a_run_without_fits_or_rows_still_has_a_page(tmp_path: Path, train: Table) -> None:
    empty = ReportContext("Empty", pd.DataFrame(), {"toy": DatasetRows(train, train)})
    text = write_report(tmp_path, empty).read_text("utf-8")
    assert "Nothing was evaluated yet." in text
    none = DatasetRows(train, train, {("rddg", 0): train.take([])})
    text = write_report(tmp_path, ReportContext("None", pd.DataFrame(), {"toy": none})).read_text(
        "utf-8"
    )
    assert "toy" in text


def test_a_run_of_which_every_fit_failed_still_has_a_page(
    tmp_path: Path, context: ReportContext
) -> None:
    figures = dict.fromkeys(METRICS, np.nan)
    failed = context.fits.assign(**figures, error="no room", truth=b"", predicted=b"", positive=-1)
    page = Page(write_report(tmp_path, replace(context, fits=failed)).read_text("utf-8"))
    assert page.texts.count("no room") == 4
    assert "failed" in page.texts
    assert any("rddg has no fits to compare" in text for text in page.texts)
    assert page.open == [] == page.unclosed


def test_a_report_that_cannot_be_written_says_where(tmp_path: Path, train: Table) -> None:
    (tmp_path / "report").write_text("a file")
    empty = ReportContext("Empty", pd.DataFrame(), {"toy": DatasetRows(train, train)})
    with pytest.raises(StoreError, match=r"report.*: cannot be written"):
        write_report(tmp_path, empty)


@pytest.mark.slow
def test_a_table_of_two_hundred_columns_and_one_class_of_rows_is_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(np.round(rng.normal(size=(40, 200)), 2),
                         columns=[f"column {i}" for i in range(200)])  # fmt: skip
    frame["y"] = np.where(np.arange(40) < 10, "rare", "common")
    train = from_frame(frame, "y", name="wide")
    made = train.take(np.flatnonzero(train.labels == "rare"))
    datasets = {"wide": DatasetRows(train, train, {("rddg", 0): made})}
    text = write_report(
        tmp_path, ReportContext("Wide", fitted(datasets, ["original", "rddg"]), datasets)
    ).read_text("utf-8")
    assert len(text.encode()) < 500_000
    assert "rows of class rare" in text


def test_the_same_run_gives_the_same_page(
    tmp_path: Path, context: ReportContext, text: str
) -> None:
    assert write_report(tmp_path, context).read_text("utf-8") == text
