from __future__ import annotations

from rddg_ray.novelty import copy_rate, row_key
from rddg_ray.table import Table, from_frame


def test_a_generated_row_has_the_key_of_the_real_row_with_the_same_cells(hostile: Table) -> None:
    columns = hostile.prompt_columns
    for cells, key in zip(hostile.cells(), hostile.row_keys(), strict=True):
        row = tuple(column.decode(cell) for column, cell in zip(columns, cells, strict=True))
        assert row_key(columns, row) == key


def test_ids_and_constants_do_not_make_a_row_new(hostile: Table) -> None:
    frame = hostile.frame.assign(ident=[f"id-{i}" for i in range(48)], same="x")
    table = from_frame(frame, "class", metadata={"ident": {"kind": "id"}})
    names = {column.name for column in table.prompt_columns}
    assert not names & {"ident", "same"}
    assert len(table.row_keys()[0]) == len(names)


def test_the_natural_rate_is_the_share_of_rows_known_elsewhere() -> None:
    assert copy_rate([("a",), ("b",), ("a",), ("c",)], [("a",), ("z",)]) == 0.5
    assert copy_rate([], [("a",)]) == 0.0
