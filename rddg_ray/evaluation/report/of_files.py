"""The report page of files that were compared, without a run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rddg_ray.evaluation.files import FileEvaluation
from rddg_ray.evaluation.fits import DatasetRows
from rddg_ray.evaluation.leaks import said_of_leaks
from rddg_ray.evaluation.report.context import ReportContext
from rddg_ray.evaluation.report.page import write_report
from rddg_ray.table import Table


def write_evaluation_report(found: FileEvaluation, out: Path | str) -> Path:
    """Write `report/` under a folder and return the page's path.

    Args:
        found: What `files.evaluate_files` returned; the rows shown are those it compared, cut to
            `max_synthetic_rows`.
        out: The folder.

    Raises:
        StoreError: If a file cannot be written.
    """
    datasets = {}
    for name, rows in found.data.datasets.items():
        made: dict[tuple[str, int], Table] = {}
        for method, state in rows.synthetic:
            table = found.data.synthetic(name, method, state)
            if table is not None:
                made[method, state] = table
        datasets[name] = DatasetRows(rows.train, rows.test, made)
    context = ReportContext(
        title=f"rddg_ray: {', '.join(datasets)}",
        fits=found.fits,
        datasets=datasets,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        # Verdicts say the leaks themselves.
        notes=tuple([note for note in found.notes if note not in said_of_leaks(found.fits)]),
    )
    return write_report(Path(out), context)
