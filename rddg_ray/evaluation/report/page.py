"""Writes the report: the page, its tables as CSV and its pictures as PNG and PDF."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import pandas as pd

from rddg_ray.errors import StoreError
from rddg_ray.evaluation.report.context import ReportContext, flat_settings, host_of
from rddg_ray.evaluation.report.drawing import Picture
from rddg_ray.evaluation.report.making import MakingView, making_view
from rddg_ray.evaluation.report.tables import TableView
from rddg_ray.evaluation.report.views import (
    DatasetView,
    dataset_view,
    figures_of,
    overview,
)
from rddg_ray.evaluation.summary import summarise

_MAX_PICTURE_BYTES = 3_500_000


def write_report(
    out_dir: Path, context: ReportContext, *, max_picture_bytes: int = _MAX_PICTURE_BYTES
) -> Path:
    """Write `report/index.html`, `report/tables/*.csv` and `report/figures/*.png` and `*.pdf`.

    The page needs nothing beside it: styles and pictures are inside, and it asks no other host.

    Args:
        out_dir: The run directory.
        context: What to show.
        max_picture_bytes: Room for pictures in the page; what does not fit is linked to. With
            the default the page stays under 5 MB.

    Returns:
        The page's path.

    Raises:
        StoreError: If a file cannot be written.
    """
    summary = summarise(context.fits) if len(context.fits) else pd.DataFrame()
    fidelity, privacy = figures_of(context)
    names = list(context.datasets)
    if len(context.fits):
        names += [name for name in context.fits["dataset"].unique() if name not in names]
    views = [dataset_view(name, context, summary, fidelity, privacy) for name in names]
    making = {name: _making(name, context) for name in names}
    tables = {
        "metrics": summary,
        "fidelity": fidelity,
        "privacy": privacy,
        "rejects": context.rejects,
        "shortfalls": context.shortfalls,
        "usage": context.usage,
        "rules": context.making.rules,
        "judged": context.making.judged,
        "calibration": context.making.calibration,
        "fits": context.fits.drop(columns=["truth", "predicted"], errors="ignore"),
    }
    report = Path(out_dir) / "report"
    for name, table in tables.items():
        if len(table):
            _write(report / "tables" / f"{name}.csv", table.to_csv(index=False).encode())
    pictures = [picture for view in views for picture in view.pictures]
    pictures += [view.picture for view in making.values() if view.picture]
    file_names = _file_names([picture.name for picture in pictures])
    for picture in pictures:
        stem = file_names[picture.name]
        _write(report / "figures" / f"{stem}.png", picture.png)
        _write(report / "figures" / f"{stem}.pdf", picture.pdf)
    shown = _fitting(pictures, max_picture_bytes)
    page = render(
        context, views, overview(summary), making=making, file_names=file_names, shown=shown
    )
    # Last, so that a page never stands beside pictures of an older run.
    return _write(report / "index.html", page.encode())


def render(
    context: ReportContext,
    views: list[DatasetView],
    first: TableView,
    *,
    making: Mapping[str, MakingView],
    file_names: Mapping[str, str],
    shown: Set[str],
) -> str:
    """Return the page as HTML; every text of the context is escaped.

    Args:
        context: What to show.
        views: The parts, one a table.
        first: What stands above them where there are several.
        making: How the rows of each table came about, by its name.
        file_names: Stem of each picture's PNG file, by picture name.
        shown: Names of the pictures inside the page; the others are linked to.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rddg_ray.evaluation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("index.html.jinja").render(
        context=context,
        views=views,
        host=host_of(context.endpoint),
        settings=flat_settings(context.settings),
        overview=first,
        making=making,
        file_names=file_names,
        shown=shown,
        style=files("rddg_ray.evaluation.report").joinpath("style.css").read_text("utf-8"),
    )


def _making(name: str, context: ReportContext) -> MakingView:
    data = context.datasets.get(name)
    train = data.train if data is not None else None
    return making_view(name, context.making, context.rejects, context.usage, train)


def _fitting(pictures: Iterable[Picture], n_bytes: int) -> set[str]:
    """Return the names of the pictures that fit, the first ones first."""
    names: set[str] = set()
    for picture in pictures:
        n_bytes -= len(picture.svg.encode())
        if n_bytes < 0:
            break
        names.add(picture.name)
    return names


def _file_names(names: list[str]) -> dict[str, str]:
    """Return file stems that are safe and differ even where case does not count."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80] or "picture"
        choice, number = stem, 2
        while choice.lower() in taken:
            choice, number = f"{stem}-{number}", number + 1
        taken.add(choice.lower())
        found[name] = choice
    return found


def _write(path: Path, content: bytes) -> Path:
    staged = path.with_name(f".{path.name}-{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(content)
        staged.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error}") from error
    finally:
        with suppress(OSError):  # an error on the way out would hide the one that matters
            staged.unlink(missing_ok=True)
    return path
