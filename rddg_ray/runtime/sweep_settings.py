"""Settings of a sweep: data sets x methods x random states, and which tables it is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from rddg_ray.config import (
    METHODS,
    CoresetSettings,
    EndpointSettings,
    EvaluationSettings,
    GenerationSettings,
    Positive,
    RandomState,
    Real,
)
from rddg_ray.datasets import info
from rddg_ray.errors import ConfigError
from rddg_ray.strict import explain, read_yaml

PaperTable = Literal[1, 2, 5, 6, 7, 8]
PAPER_TABLES: tuple[int, ...] = get_args(PaperTable)
_LISTS = ("main_datasets", "cost_datasets", "ablation_rows", "imbalance_datasets",
          "reference_datasets")  # fmt: skip
"""Keys that name data sets."""


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"{value!r} is named twice")
    return values


def _methods(values: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [value for value in values if value not in METHODS]:
        raise ValueError(f"{unknown[0]!r} is not one of {', '.join(METHODS)}")
    return _distinct(values)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SweepDataset(_Part):
    """A data set of the catalog.

    Attributes:
        path: Its file or folder; without it `<data>/<name>` is looked at, then the cache.
        url: Where its file is fetched from; checked by hash and cached.
        split: `authors` where the authors' split is known.
        rare_class: The rare class, if not the smallest.
    """

    path: str | None = None
    url: str | None = None
    split: Literal["random", "authors"] = "random"
    rare_class: str | None = None


class SweepSettings(_Part):
    """A sweep over the paper's tables.

    Attributes:
        name: Heading of the tables.
        output: Folder for run directories (`runs/`) and tables (`tables/`).
        data: Folder that holds the files of a data set in a folder of its name.
        random_states: Generator states and classifier states alike.
        tables: Which of the paper's tables to fill.
        datasets: Every data set, and where its files are. One that is not at hand is skipped with
            a line.
        main_datasets: Those of tables 1 and 2; a generated set goes into the second.
        methods: What tables 1 and 2 compare.
        cost_datasets: Data sets of table 5.
        ablation_rows: Data sets of table 6, with the reference rows (all classes together).
        ablations: Methods of table 6.
        imbalance_datasets: Data sets of table 7.
        imbalance_ratios: Its ratios, largest class over rarest.
        imbalance_methods: Its methods.
        reference_datasets: Data sets of table 8.
        reference_sizes: Its reference rows of a prompt, all classes together.
        synthetic_rows: Rows to make, shared equally among the classes.
        coreset: As in a run.
        generation: As in a run; the sweep sets how many rows.
        endpoint: As in a run. Its budget holds for the whole sweep.
        evaluation: As in a run; the sweep sets `classifier_states`.
    """

    name: str = "paper"
    output: Path = Path("runs/paper")
    data: Path = Path("data")
    random_states: Annotated[
        tuple[RandomState, ...], Field(min_length=1), AfterValidator(_distinct)
    ] = (0, 1, 2, 3, 4)
    tables: Annotated[tuple[PaperTable, ...], Field(min_length=1), AfterValidator(_distinct)] = (
        1, 2, 5, 6, 7, 8,
    )  # fmt: skip
    datasets: Annotated[dict[str, SweepDataset], Field(min_length=1)]
    methods: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_methods)]
    main_datasets: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ()
    cost_datasets: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ()
    ablation_rows: dict[str, Positive] = {}
    ablations: Annotated[tuple[str, ...], AfterValidator(_methods)] = (
        "rddg", "rddg_no_feedback", "rddg_random_coreset",
    )  # fmt: skip
    imbalance_datasets: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ()
    imbalance_ratios: Annotated[
        tuple[Annotated[Real, Field(ge=1)], ...], AfterValidator(_distinct)
    ] = (2, 5, 10, 20)
    imbalance_methods: Annotated[tuple[str, ...], AfterValidator(_methods)] = ("epic", "rddg")
    reference_datasets: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ()
    reference_sizes: Annotated[tuple[Positive, ...], AfterValidator(_distinct)] = (5, 10, 20, 30)
    synthetic_rows: Positive = 1000
    coreset: CoresetSettings = CoresetSettings()
    generation: GenerationSettings = GenerationSettings()
    endpoint: EndpointSettings = EndpointSettings()
    evaluation: EvaluationSettings = EvaluationSettings(protocol="paper", baseline_rows="same")

    @model_validator(mode="after")
    def _known_datasets(self) -> SweepSettings:
        for key in _LISTS:
            if absent := [name for name in getattr(self, key) if name not in self.datasets]:
                raise ValueError(f"{key}: {absent[0]!r} is not among datasets; add it there")
        for key in ("rows_per_class", "sampling_strategy"):
            if key in self.generation.model_fields_set:
                raise ValueError(f"generation.{key} is the sweep's to set, by synthetic_rows")
        if "classifier_states" in self.evaluation.model_fields_set:
            raise ValueError("evaluation.classifier_states are random_states; leave them out")
        return self


def load_sweep(path: Path | str, overrides: Mapping[str, Any] | None = None) -> SweepSettings:
    """Read a YAML file of a sweep.

    Args:
        path: The file. Relative paths in it are relative to the working directory.
        overrides: Top-level keys that replace the file's.

    Raises:
        ConfigError: If the file cannot be read, a key is unknown or wrong, or a data set is not
            in the catalog; the message names the file, the key and the value.
    """
    return sweep_from({**read_yaml(Path(path)), **(overrides or {})}, source=str(path))


def sweep_from(content: Mapping[str, Any], source: str = "settings") -> SweepSettings:
    """Build a sweep's settings from plain values; see `load_sweep`."""
    try:
        settings = SweepSettings.model_validate(dict(content))
    except ValidationError as error:
        raise ConfigError(explain(error, content, SweepSettings, source)) from error
    for name in settings.datasets:
        if info(name).name != name:
            raise ConfigError(f"{source}: datasets.{name}: write it {info(name).name!r}")
    return settings


def with_datasets(settings: SweepSettings, names: tuple[str, ...]) -> SweepSettings:
    """Return the sweep over some of its data sets.

    Raises:
        ConfigError: If one is not among them.
    """
    if unknown := [name for name in names if name not in settings.datasets]:
        raise ConfigError(
            f"datasets: {unknown[0]!r} is not one of the sweep's: {', '.join(settings.datasets)}"
        )

    changes: dict[str, Any] = {
        "datasets": {name: told for name, told in settings.datasets.items() if name in names},
        "ablation_rows": {n: rows for n, rows in settings.ablation_rows.items() if n in names},
    }
    for key in _LISTS:
        if key not in changes:
            changes[key] = tuple(name for name in getattr(settings, key) if name in names)
    return settings.model_copy(update=changes)
