"""Ray Data: replaying chains into Parquet files, and the classifier grid."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from rddg_ray.errors import RddgError
from rddg_ray.runtime.chains import ChainWork
from rddg_ray.runtime.replaying import replayed

_BLOCKS_PER_CPU = 2


def gather_chains(work: ChainWork, folders: Mapping[str, Path], n_cpus: int) -> None:
    """Replay chains with Ray Data, some in each block; see `Executor.gather`."""
    n_blocks = min(len(work.specs), _BLOCKS_PER_CPU * n_cpus)
    parts = [list(part) for part in np.array_split(np.arange(len(work.specs)), n_blocks)]
    tables = {name: ray.put(table) for name, table in work.tables.items()}
    bare = replace(work, tables={})

    def replay(batch: dict[str, Any]) -> pa.Table:
        [number] = batch["part"]
        whole = replace(bare, tables={name: ray.get(ref) for name, ref in tables.items()})
        frames = replayed(whole, [bare.specs[at] for at in parts[int(number)]])
        return pa.table({kind: [_to_ipc(frame)] for kind, frame in frames.items()})

    numbers = [{"part": number} for number in range(n_blocks)]
    with _in_order():
        blocks = (
            ray.data.from_items(numbers, override_num_blocks=n_blocks)
            .map_batches(replay, batch_size=1, num_cpus=0.5)
            .materialize()
        )
        # All kinds come of one replay, and have a schema each.
        for kind, folder in folders.items():
            blocks.map_batches(
                _from_ipc, batch_size=1, batch_format="pyarrow",
                fn_kwargs={"column": kind}, num_cpus=0.5,
            ).write_parquet(str(folder))  # fmt: skip


def fit_groups(
    function: Callable[[Any, Any], Sequence[Mapping[str, Any]]],
    groups: Sequence[Any],
    data: Mapping[str, Any],
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield the records of each group, one block of Ray Data a group; see `Executor.fit`."""
    if not groups:
        return
    shared = {key: ray.put(value) for key, value in data.items()}

    def fit_block(batch: dict[str, Any]) -> dict[str, list[bytes]]:
        [position] = batch["position"]
        try:
            outcome: Any = list(function(groups[int(position)], _Shared(shared)))
        except RddgError as error:
            # A Ray Data function's error loses its class on the way; a value keeps it.
            outcome = error
        return {"outcome": [pickle.dumps(outcome)]}

    positions = [{"position": position} for position in range(len(groups))]
    blocks = ray.data.from_items(positions, override_num_blocks=len(positions)).map_batches(
        fit_block, batch_size=1, num_cpus=1
    )
    for block in blocks.iter_batches(batch_size=1, prefetch_batches=0):
        [pickled] = block["outcome"]
        outcome = pickle.loads(pickled)
        if isinstance(outcome, RddgError):
            raise outcome
        yield outcome


class _Shared(Mapping[str, Any]):
    """Values in the object store, fetched when first used."""

    def __init__(self, references: Mapping[str, Any]) -> None:
        self._references = references

    def __getitem__(self, key: str) -> Any:
        return ray.get(self._references[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._references)

    def __len__(self) -> int:
        return len(self._references)


@contextmanager
def _in_order() -> Iterator[None]:
    """Keep the blocks of data sets made meanwhile in order; files are named by it."""
    options = ray.data.DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before


def _to_ipc(frame: Any) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _from_ipc(batch: pa.Table, column: str) -> pa.Table:
    [blob] = batch.column(column).to_pylist()
    with pa.ipc.open_stream(blob) as reader:
        table: pa.Table = reader.read_all()
    return table
