"""CSV and Parquet files to tables and back."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection
from io import StringIO
from pathlib import Path
from typing import IO, Any

import pandas as pd

from rddg_ray.config import MISSING_TOKENS
from rddg_ray.errors import DataError
from rddg_ray.metadata import columns_of_metadata
from rddg_ray.schema import Column, Schema
from rddg_ray.table import Table, from_frame

_DELIMITERS = (",", ";", "\t", "|")
_PARQUET = (".parquet", ".pq")


def read_table(
    path: Path | str,
    target: str,
    *,
    metadata: Path | None = None,
    missing_values: Collection[str] = MISSING_TOKENS,
    name: str | None = None,
    rare_class: str | None = None,
) -> Table:
    """Read a CSV or Parquet file as a table; see `from_frame` for what is inferred.

    Raises:
        DataError: If the file cannot be read or used; the message names file and row.
    """
    said = read_metadata(metadata) if metadata else None
    return from_frame(
        read_frame(path),
        target,
        name=name or Path(path).stem,
        metadata=said,
        missing_values=missing_values,
        rare_class=rare_class,
    )


def read_frame(path: Path | str) -> pd.DataFrame:
    """Read cells: texts from a CSV file (header first), typed ones from a Parquet file.

    A CSV file may be separated by comma, semicolon, tab or bar, as its header shows.

    Raises:
        DataError: If the file is absent, empty, not UTF-8, ragged, or repeats a column name.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if path.suffix.lower() in _PARQUET:
        try:
            return _read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    try:
        # Not `read_text`, which would change the line breaks inside cells.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}); convert it") from error
    return _parse_csv(text, path)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow
    from pyarrow import parquet

    # Without these, integers and booleans with gaps become floats and objects.
    exact = {pyarrow.bool_(): pd.BooleanDtype(), pyarrow.uint64(): pd.UInt64Dtype()}
    for bits in (8, 16, 32, 64):
        exact[getattr(pyarrow, f"int{bits}")()] = pd.Int64Dtype()
    for bits in (8, 16, 32):
        exact[getattr(pyarrow, f"uint{bits}")()] = pd.Int64Dtype()
    frame: pd.DataFrame = parquet.read_table(path).to_pandas(types_mapper=exact.get)
    return frame


def _parse_csv(text: str, path: Path) -> pd.DataFrame:
    if "\x00" in text:
        raise DataError(f"{path}: holds a zero byte; this is no CSV file")
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    reader = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = next(reader)
        _check_header(header, path)
        rows = []
        for row in reader:
            if len(row) == len(header):
                rows.append(row)
            elif row:
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} cells where the header has "
                    f"{len(header)}: {row[:4]!r}..."
                )
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not rows:
        raise DataError(f"{path}: there is a header but no row")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    return pd.DataFrame(columns, dtype="str")


def _delimiter(text: str) -> str:
    # The header decides: the separator that stands most often outside quotes, the comma on a tie.
    counts = dict.fromkeys(_DELIMITERS, 0)
    is_quoted = False
    for character in text:
        if character == '"':
            is_quoted = not is_quoted
        elif not is_quoted and character in "\r\n":
            break
        elif not is_quoted and character in counts:
            counts[character] += 1
    return max(_DELIMITERS, key=counts.__getitem__)


def _check_header(header: list[str], path: Path) -> None:
    if header[0] == "":
        # What pandas writes for an index, and the name it gives when it reads it back.
        header[0] = "Unnamed: 0"
    for position, name in enumerate(header):
        if name in header[:position]:
            raise DataError(f"{path}: two columns are named {name!r}; rename one")
    if "" in header[1:]:
        raise DataError(f"{path}: column {header.index('', 1) + 1} has no name")


def read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    """Read an SDV Metadata V2 file; see `columns_of_metadata`.

    Raises:
        DataError: If it cannot be read or says something unknown.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error
    return columns_of_metadata(content, str(path))


def write_rows(frame: pd.DataFrame, schema: Schema, path: Path) -> None:
    """Write output rows (see `Table.to_output`) as CSV or Parquet, by the file's ending.

    In CSV a number keeps the decimal places, a date the form, and a missing cell the text, of
    the real table's column.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in _PARQUET:
        frame.to_parquet(path, index=False)
        return
    columns = {column.name: column for column in schema}
    texts = [_texts(frame[name], columns.get(str(name))) for name in frame.columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        # The writer quotes a line break only where its own line ends hold it.
        writer = csv.writer(_UnixLines(file), lineterminator="\r\n")
        writer.writerow(map(str, frame.columns))
        writer.writerows(zip(*texts, strict=True))


class _UnixLines:
    """Ends with a line feed each row that a `csv.writer` ends with a carriage return too."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def _texts(values: pd.Series, column: Column | None) -> list[str]:
    """Return CSV cells; the column's own word, or the empty text, for a missing one."""
    gap = column.missing_token if column is not None else ""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        form = column.datetime_format if column is not None else None
        values = values.dt.strftime(form or "%Y-%m-%d %H:%M:%S")
    elif column is not None and column.kind == "numerical":
        values = values.astype("float64").map(column.encode, na_action="ignore")
        if column.whole_zeros:
            zeros = "." + "0" * column.whole_zeros
            values = values.map(lambda t: t if "." in t else t + zeros, na_action="ignore")
    return [
        gap if is_gap else str(value) for value, is_gap in zip(values, values.isna(), strict=True)
    ]
