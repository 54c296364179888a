"""The paper's tables with the figures of a sweep beside those that the paper prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

import numpy as np
import pandas as pd

from rddg_ray.config import GENERATIVE_METHODS
from rddg_ray.errors import ConfigError
from rddg_ray.evaluation.summary import PAPER_METRICS, PRIMARY_METRICS, in_order, summarise

PAPER_MODEL = "GPT-3.5-turbo-0125"
"""The model of the paper's figures for EPIC, RDDG and its ablations (its section 4.1)."""

TITLES: Mapping[int, str] = {
    1: "Real data sets",
    2: "Generated data sets",
    5: "Accuracy, tokens, cost and time",
    6: "Ablations",
    7: "Imbalance ratios",
    8: "Reference sizes",
}
COST_TABLES = (5, 7, 8)
COST_COLUMNS = ("tokens", "usd", "relations_s", "constraints_s", "generation_s", "total_s")
PLACE_COLUMNS = ("table", "dataset", "imbalance_ratio", "reference_rows", "method")
_EMBEDDED = "embedded-sampler"
_EMBEDDED_WORDS = "embedded-sampler (a statistical sampler, not a language model)"
_FIGURES = tuple(name for metric in PAPER_METRICS for name in (metric, f"{metric}_std"))
_CHANCE = tuple(
    f"{metric}_{part}"
    for metric in PRIMARY_METRICS
    for part in ("difference", "low", "high", "p_holm")
)
COLUMNS = (*PLACE_COLUMNS, "source", *_FIGURES, *COST_COLUMNS, "n_fits", *_CHANCE)
"""Columns of a table's CSV file: percent, tokens, US dollars and seconds."""

_HEADS = {
    "dataset": "Data set",
    "imbalance_ratio": "IR",
    "reference_rows": "Ref. size",
    "method": "Method",
    "source": "Source",
    "f1": "Macro-F1",
    "balanced_accuracy": "BAL ACC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "f1_difference": "F1 against original [95%], p",
    "tokens": "Tokens",
    "usd": "USD",
    "relations_s": "Prompt 1, s",
    "constraints_s": "Prompt 2, s",
    "generation_s": "Prompt 3, s",
    "total_s": "All, s",
}


def paper_figures() -> pd.DataFrame:
    """Return the figures that the paper prints, one row a line of its tables.

    They were typed from tables 1, 2, 5, 6, 7 and 8 of the paper and are the only figures of the
    project that were not measured. NaN is what the paper does not print, or what its copy at
    hand does not show: the specificity of `original` but for the first data set of a table.

    Returns:
        Columns of `COLUMNS`; `source` names the paper and its model.
    """
    path = files("rddg_ray.evaluation").joinpath("paper_figures.csv")
    with path.open(encoding="utf-8") as file:
        found = pd.read_csv(file, dtype={"dataset": "str", "method": "str"})
    found["source"] = [_paper_source(method) for method in found["method"]]
    return found.reindex(columns=list(COLUMNS))


def _paper_source(method: str) -> str:
    return f"paper, {PAPER_MODEL}" if method in GENERATIVE_METHODS else "paper"


def own_source(method: str, model: str) -> str:
    """Return what made the rows of one of our figures.

    Args:
        method: Its method.
        model: Name that the endpoint gave; the embedded sampler is called what it is.
    """
    if method not in GENERATIVE_METHODS:
        return "rddg_ray, no model"
    return f"rddg_ray, {_EMBEDDED_WORDS if model == _EMBEDDED else model}"


def own_figures(fits: pd.DataFrame, costs: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return what one run found, one row a method, in the units of the paper.

    Args:
        fits: Rows of `fits.fit_cell` of one table.
        costs: A row a method with `COST_COLUMNS`, means over its generator states; may be empty.
        model: Name that the endpoint gave.

    Returns:
        `COLUMNS` without the place: figures in percent, with the paired difference to `original`
        where the run has it.
    """
    summary = summarise(fits)
    known = costs.set_index("method") if len(costs) else pd.DataFrame(columns=list(COST_COLUMNS))
    rows = []
    for method in in_order(summary["method"]):
        cells = summary[summary["method"] == method].set_index("metric")
        row: dict[str, object] = {"method": method, "source": own_source(method, model)}
        row["n_fits"] = int(cells["n_fits"].iloc[0])
        for metric in PAPER_METRICS:
            row[metric] = 100 * cells.loc[metric, "mean"]
            row[f"{metric}_std"] = 100 * cells.loc[metric, "std"]
        for metric in PRIMARY_METRICS:
            for part in ("difference", "low", "high"):
                row[f"{metric}_{part}"] = 100 * cells.loc[metric, part]
            row[f"{metric}_p_holm"] = cells.loc[metric, "p_holm"]
        if method in known.index:
            row |= {name: known.loc[method, name] for name in COST_COLUMNS}
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=[c for c in COLUMNS if c not in _PLACES_BUT_METHOD])


_PLACES_BUT_METHOD = ("table", "dataset", "imbalance_ratio", "reference_rows")


def table_of(number: int, own: pd.DataFrame, paper: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one table: the paper's figures and ours, line by line beside one another.

    Args:
        number: Of the paper's table.
        own: Our figures with `COLUMNS`, of any tables; may be empty.
        paper: Those of the paper; read by default.

    Raises:
        ConfigError: If there is no such table.
    """
    if number not in TITLES:
        raise ConfigError(f"tables: {number!r} is not one of {list(TITLES)}")
    printed = paper_figures() if paper is None else paper
    parts = [part[part["table"] == number] for part in (printed, own) if len(part)]
    whole = pd.concat([part for part in parts if len(part)], ignore_index=True)
    keys = pd.DataFrame(
        {
            "dataset": _ranks(whole["dataset"], list(dict.fromkeys(whole["dataset"]))),
            "ratio": whole["imbalance_ratio"].astype("float64").fillna(0.0),
            "rows": whole["reference_rows"].astype("float64").fillna(0.0),
            "method": _ranks(whole["method"], in_order(whole["method"])),
            "own": ~whole["source"].str.startswith("paper"),
        }
    )
    order = keys.sort_values(list(keys.columns), kind="stable").index
    return whole.loc[order, list(COLUMNS)].reset_index(drop=True)


def _ranks(values: pd.Series, order: Sequence[str]) -> pd.Series:
    return values.map({name: place for place, name in enumerate(order)})


def to_markdown(number: int, table: pd.DataFrame, lines: Sequence[str] = ()) -> str:
    """Return a table as Markdown.

    Args:
        number: Of the paper's table.
        table: What `table_of` returned.
        lines: Sentences below it, such as what was skipped.
    """
    columns = ["dataset"]
    columns += ["imbalance_ratio"] if table["imbalance_ratio"].notna().any() else []
    columns += ["reference_rows"] if table["reference_rows"].notna().any() else []
    columns += ["method", "source", *PAPER_METRICS]
    if table["f1_difference"].notna().any():
        columns.append("f1_difference")
    columns += COST_COLUMNS if number in COST_TABLES else ()
    heads = [_HEADS[column] for column in columns]
    how = (
        "Percent, mean ± standard deviation over all fits of a method. Lines marked `paper` are "
        f"typed from the paper (generated by {PAPER_MODEL} where a model is named); all others "
        "were measured by this sweep, on its own splits unless the authors' are known. Of two "
        "classes, F1 and sensitivity are those of the second in the order of their names, as the "
        "authors encode them; of more, all are weighted means."
    )
    text = [
        f"# Table {number}: {TITLES[number]}",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(
            f"| {' | '.join(_cell(row, column) for column in columns)} |"
            for row in table.to_dict("records")
        ),
        "",
        how,
    ]
    if any(_EMBEDDED in str(source) for source in table["source"]):
        text.append(
            "Rows of `embedded-sampler` come from a statistical sampler, not from a language "
            "model: they say how the pipeline works, not how well a model writes."
        )
    if number in COST_TABLES:
        text.append("Times are seconds spent waiting for replies, a mean over generator states; "
                    "the paper's are the whole run's.")  # fmt: skip
    return "\n".join([*text, *(f"- {line}" for line in lines), ""])


def _cell(row: Mapping[str, object], column: str) -> str:
    value = row[column]
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if column in PAPER_METRICS:
        spread = row[f"{column}_std"]
        has_spread = isinstance(spread, float) and not np.isnan(spread)
        return f"{value:.2f}" + (f"±{spread:.2f}" if has_spread else "")
    if column == "f1_difference":
        return _difference(row)
    forms = {"tokens": ",.0f", "usd": ".2f", "imbalance_ratio": "g", "reference_rows": ".0f"}
    if column in forms or column.endswith("_s"):
        return f"{value:{forms.get(column, '.1f')}}"
    return str(value).replace("|", "\\|")


def _difference(row: Mapping[str, object]) -> str:
    text = f"{row['f1_difference']:+.2f}"
    if not np.isnan(row["f1_low"]):  # type: ignore[call-overload]  # a float beside a float
        text += f" [{row['f1_low']:+.2f}, {row['f1_high']:+.2f}]"
    p_value = row["f1_p_holm"]
    return text if np.isnan(p_value) else f"{text}, {p_value:.3f}"  # type: ignore[call-overload]  # likewise
