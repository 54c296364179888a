"""Settings of a run: frozen, strictly read, with every default in this one place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from rddg_ray.errors import ConfigError
from rddg_ray.rules_file import read_rules_file
from rddg_ray.strict import explain, read_yaml


def _no_boolean(value: object) -> object:
    # Python would read `true` as 1.
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"{value!r} is named twice")
    return values


def _said_as(words: str) -> WrapValidator:
    """Return a validator of a union that says what is wanted in one sentence of its own."""

    def check(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(value)
        except ValidationError as error:
            # In a mapping each wrong key is named by itself.
            if isinstance(value, Mapping):
                raise
            raise ValueError(words) from error

    return WrapValidator(check)


Real = Annotated[float, BeforeValidator(_no_boolean)]
Count = Annotated[int, Field(ge=0), BeforeValidator(_no_boolean)]
Share = Annotated[Real, Field(ge=0.0, le=1.0)]
Positive = Annotated[Count, Field(gt=0)]
Strategy = Literal["auto", "minority", "not majority", "not minority", "all"]
# numpy's generators take no negative number.
RandomState = Count

# The default first, then the paper's, then what is taken away from it (`method_parts`).
GenerativeMethod = Literal[
    "rddg_calibrated",
    "rddg",
    "epic",
    "rddg_no_feedback",
    "rddg_random_coreset",
    "rddg_no_relations",
]
BaselineMethod = Literal[
    "original",
    "class_weights",
    "tuned_threshold",
    "random_oversampling",
    "smote",
    "smotenc",
    "borderline_smote",
    "adasyn",
    "gaussian_copula",
    "copies_only",
]
# Of other packages; skipped with a line where they are not installed.
ExtraMethod = Literal["ctgan", "tvae", "realtabformer", "great", "tabddpm", "cdtd", "ads_gan"]
GENERATIVE_METHODS: tuple[str, ...] = get_args(GenerativeMethod)
BASELINE_METHODS: tuple[str, ...] = get_args(BaselineMethod)
EXTRA_METHODS: tuple[str, ...] = get_args(ExtraMethod)
METHODS = (*BASELINE_METHODS, *EXTRA_METHODS, *GENERATIVE_METHODS)
CLASSIFIERS = ("xgboost", "catboost", "lightgbm", "gradient_boosting")
MISSING_TOKENS = ("", "?", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "<NA>")


# A model server that came back at another address, or with another key, is the same model.
_CONNECTION_KEYS = (
    "base_url", "timeout_s", "max_attempts", "give_up_after_s", "max_concurrency", "api_key_env",
    "api_key_file",
)  # fmt: skip


# How far a chain may go changes no row on the way: one that fell short goes on under new limits.
_LIMIT_KEYS = ("max_rounds", "max_empty_rounds", "max_calls")


# Settings that came later, where they ask as before: runs begun without them go on.
_AS_BEFORE = {"reply_format": "csv", "rules": None}


class _Settings(BaseModel):
    # Unknown keys are errors: a misspelt key that is ignored costs a night of computing.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        # A class called 0 or a column called 2020 needs no quotes.
        coerce_numbers_to_str=True,
    )


AnySettings = TypeVar("AnySettings", bound=_Settings)


class CoresetSettings(_Settings):
    """How the rows shown for relations are chosen (paper, table 11 and section 3.2)."""

    per_class: Positive = 100
    epochs: Annotated[Count, Field(ge=6)] = 100
    batch_size: Annotated[Count, Field(ge=2)] = 64
    learning_rate: Annotated[Real, Field(gt=0)] = 1e-3
    ensemble: Positive = 8


class FeedbackSettings(_Settings):
    """Thresholds of Algorithm 1.

    Attributes:
        mean: Difference of means, in real standard deviations.
        std: Relative difference of standard deviations.
        correlation: Absolute difference of Pearson coefficients.
        ks: Kolmogorov-Smirnov statistic; for categories the total variation distance.
        max_items: Entries named per sentence, worst first.
    """

    mean: Annotated[Real, Field(ge=0)] = 0.25
    std: Annotated[Real, Field(ge=0)] = 0.25
    correlation: Annotated[Real, Field(ge=0)] = 0.3
    ks: Annotated[Real, Field(ge=0)] = 0.3
    max_items: Positive = 5


class CalibrationSettings(_Settings):
    """How calibrated feedback is worked out (`rddg_ray.calibration`).

    A summary's unit is its standard deviation per row in the real rows, so that a mean's unit is
    one real standard deviation.

    Attributes:
        level: False-discovery rate of what is said.
        prior_scale: Prior standard deviation of a bias, in units.
        ruled_prior_scale: The same where a verified rule speaks of the summary.
        gain_sd: Prior standard deviation of a gain around 1; 0 for the unit-gain filter.
        min_gain: Least gain that a control counts on. Of a summary whose gain surely lies below,
            nothing more is said: the endpoint does not answer to it.
        make_up: Share of the whole output's deficit that the rounds left are to make up for.
        make_up_bound: Most that one round is asked for on that account, in units.
        step: Most that a control moves from one round to the next, in units.
        drift: Standard deviation that a bias gains each round, as a share of its prior's.
        noise: Factor on the variance of a batch's summaries, for endpoints whose batches differ
            by more than rows drawn at random.
        rare_share: Categories with a smaller share in a class are pooled.
        answer_noise: Standard deviation, from reply to reply, of the share of what is said that the
            endpoint does.
        max_items: Items of one kind said of a class, worst first.
        max_correlations: The same for correlations, which cannot be moved one by one.
        interval: Probability of credible intervals.
    """

    level: Annotated[Real, Field(gt=0, lt=1)] = 0.1
    prior_scale: Annotated[Real, Field(gt=0)] = 0.5
    ruled_prior_scale: Annotated[Real, Field(gt=0)] = 0.2
    gain_sd: Annotated[Real, Field(ge=0)] = 0.5
    min_gain: Annotated[Real, Field(gt=0, le=1)] = 0.25
    make_up: Share = 0.5
    make_up_bound: Annotated[Real, Field(ge=0)] = 0.25
    step: Annotated[Real, Field(gt=0)] = 0.75
    drift: Annotated[Real, Field(ge=0)] = 0.0
    noise: Annotated[Real, Field(gt=0)] = 1.0
    rare_share: Share = 0.05
    answer_noise: Annotated[Real, Field(ge=0)] = 0.2
    max_items: Positive = 10
    max_correlations: Annotated[int, Field(ge=0)] = 2
    interval: Annotated[Real, Field(gt=0, lt=1)] = 0.9


class PlausibilitySettings(_Settings):
    """Whether a row's class must be believable to models of the training rows.

    Attributes:
        enabled: Whether rows are judged at all.
        threshold: Least probability of a row's class, of two classes; its like for more.
    """

    enabled: bool = True
    threshold: Annotated[Real, Field(gt=0, lt=1)] = 0.2


class UserRules(_Settings):
    """A user's rules as they were written; see `constraints.user_rules` for the grammar.

    Attributes:
        file: The file they were read from, for errors; None if they were given as they are.
        items: The rules.
    """

    file: str | None = None
    items: Annotated[tuple[Any, ...], Field(min_length=1)]


class GenerationSettings(_Settings):
    """What one chain asks for and what it accepts.

    Attributes:
        sampling_strategy: imbalanced-learn's meaning: which classes to raise to the size of the
            largest, or the ratio rare/largest (two classes), or the wanted size by class.
        rows_per_class: Rows to add instead: one number for every class, or by class.
        reference_rows_per_class: Real rows of each class that a batch shows.
        relation_rows_per_class: Coreset rows of each class shown for relations and rules.
        request_rows_per_class: Most rows of one class asked for in one prompt.
        max_rounds: Generation rounds after which the chain ends with a shortfall; None for three
            times those that would do if every row were accepted, and 20 more.
        max_empty_rounds: Rounds in a row without an accepted row after which it does too.
        batches_per_round: Prompts that share one feedback.
        codes: Whether category values cross to the endpoint as random words.
        allow_copies: Whether rows equal, or nearly equal, to a real training row are accepted.
        near_copy_tolerance: Rows with the class, the categories and the missing cells of a real
            training row are copies too if every number differs by at most this many of its
            column's spacings, the median distance of neighbouring values; 0 for equal rows only.
        allow_repeats: Whether rows equal to an earlier synthetic row are accepted.
        chain_per: One chain a table, or one a class.
        max_calls: Calls a chain may make; None for no cap beyond the rounds.
        temperature: Sampling temperature; None for the endpoint's default.
        max_completion_tokens: Cap on every reply's tokens, hidden reasoning included. `auto`
            caps generation replies once five were seen, at no less than twice the longest, and
            doubles the cap after one that it cut; it learns nothing where the endpoint counts no
            tokens. That bounds what a call may cost, and takes less of a limit that caps are
            charged to than a loose number, which lengthens such a run in proportion. None, the
            default, sends no cap: it alone can neither cut a reply nor be refused, as a cap is
            that is above what a model may write.
        reply_format: How new rows are asked for. `csv` takes the fewest tokens and every
            endpoint does it. `json_schema` sends `response_format` with a strict schema, so that
            no row has a column too few or an unknown category. It repeats the columns' names in
            every row (four times the reply's tokens at 28 columns) and needs an endpoint with
            structured output.
        rules: Rules of your own that new rows must keep, by every method: a YAML or JSON file,
            or the list that such a file holds. They are checked on the real rows first.
        feedback: Of Algorithm 1.
        calibration: Of `rddg_calibrated`.
        plausibility: Whether `rddg_calibrated` refuses rows whose class is not believable.
    """

    sampling_strategy: Annotated[
        Strategy | Annotated[Real, Field(gt=0, le=1)] | dict[str, Count],
        _said_as(
            f"expected one of {', '.join(map(repr, get_args(Strategy)))}, a ratio in (0, 1] of "
            "two classes, or the wanted number of rows by class"
        ),
    ] = "auto"
    rows_per_class: Annotated[
        Count | dict[str, Count] | None,
        _said_as("expected a number of rows to add to every class, from 0, or one by class"),
    ] = None
    reference_rows_per_class: Positive = 15
    relation_rows_per_class: Positive = 15
    request_rows_per_class: Positive = 15
    max_rounds: Positive | None = None
    max_empty_rounds: Positive = 5
    batches_per_round: Positive = 1
    codes: bool = True
    allow_copies: bool = False
    allow_repeats: bool = False
    chain_per: Literal["table", "class"] = "table"
    max_calls: Positive | None = None
    temperature: Annotated[Real, Field(ge=0, le=2)] | None = None
    max_completion_tokens: Annotated[
        Positive | Literal["auto"] | None,
        _said_as("expected a number of tokens from 1, 'auto' for a cap learned from replies, or "
                 "null for none"),
    ] = None  # fmt: skip
    reply_format: Literal["csv", "json_schema"] = "csv"
    near_copy_tolerance: Annotated[Real, Field(ge=0)] = 0.5
    rules: UserRules | None = None
    feedback: FeedbackSettings = FeedbackSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    plausibility: PlausibilitySettings = PlausibilitySettings()

    @field_validator("rules", mode="before")
    @classmethod
    def _rules_read(cls, value: object) -> object:
        """Read a file of rules here, so that its content is part of the settings."""
        if isinstance(value, str | Path):
            return UserRules(file=str(value), items=tuple(read_rules_file(value)))
        return {"items": value} if isinstance(value, list | tuple) else value


class EmbeddedSettings(_Settings):
    """Flaws and limits of the embedded sampler (a statistical sampler, not a language model).

    Attributes:
        bias: Shift of numerical means, in standard deviations of the rows it was shown.
        dispersion: Factor on the spread of numerical columns.
        gain: Share of a difference named in feedback that the next reply corrects.
        malformed_share: Share of rows written wrongly (column count, unknown code, prose).
        copy_share: Share of rows that repeat an example row.
        latency_s: Seconds from a request to its reply, the work on it among them.
        error_share: Share of calls answered with an error of `error_status`.
        requests_per_minute: Requests let through; None for no limit.
        tokens_per_minute: Tokens let through; None for no limit.
        policy: How a limit is enforced. `minute_bucket` holds a minute's worth and fills evenly;
            `second_bucket` holds a second's worth; `sliding_window` looks at the last 60 s;
            `fixed_window` starts anew every 60 s.
        token_accounting: `reserve` charges prompt and cap of the reply on arrival (the reply
            itself where there is no cap); `actual` the prompt on arrival and the reply's tokens
            when it is sent.
        rate_headers: Whether responses carry `x-ratelimit-*` headers.
        retry_after: Whether refusals (429) carry `Retry-After`.
    """

    random_state: RandomState = 0
    bias: Real = 0.1
    dispersion: Annotated[Real, Field(gt=0)] = 1.0
    gain: Annotated[Real, Field(ge=0)] = 0.7
    malformed_share: Share = 0.02
    copy_share: Share = 0.02
    latency_s: Annotated[Real, Field(ge=0)] = 0.0
    error_share: Share = 0.0
    error_status: Literal[408, 409, 429, 500, 502, 503, 504] = 503
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    policy: Literal["minute_bucket", "second_bucket", "sliding_window", "fixed_window"] = (
        "minute_bucket"
    )
    token_accounting: Literal["reserve", "actual"] = "reserve"
    rate_headers: bool = True
    retry_after: bool = True


# What the embedded endpoint does beside its replies.
_NO_PART_OF_A_REPLY = (
    "latency_s",
    "error_share",
    "error_status",
    "requests_per_minute",
    "tokens_per_minute",
    "policy",
    "token_accounting",
    "rate_headers",
    "retry_after",
)


class LimitSettings(_Settings):
    """How fast calls may fly.

    Attributes:
        requests_per_minute: Most requests a minute; None for what the endpoint reports.
        tokens_per_minute: Most prompt and completion tokens a minute, likewise.
        tpm_accounting: What the endpoint charges against its tokens a minute: `reserve` prompt
            and cap of the reply, `actual` what was used, `auto` to learn it from its headers
            (and to count as under `reserve` until that is known).
        pace: Share of a limit that is used.
        tolerance_s: Seconds that calls may catch up after a pause.
    """

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    tpm_accounting: Literal["reserve", "actual", "auto"] = "auto"
    pace: Annotated[Real, Field(gt=0, le=1)] = 0.985
    tolerance_s: Annotated[Real, Field(ge=0)] = 0.5


class BudgetSettings(_Settings):
    """What a run may spend over all its starts, and what the endpoint charges.

    Every cap holds for replies on record plus the worst case of calls whose outcome is unknown.
    The worst case of a call without `generation.max_completion_tokens` is learned from replies,
    not known; set it for a cap that holds whatever the endpoint does (`auto` bounds the calls for
    rows, once enough replies were seen).

    Attributes:
        max_cost_usd: Money, in US dollars; needs the prices.
        max_tokens: Prompt and completion tokens together.
        max_calls: Replies.
        prompt_usd_per_million: Price of a million prompt tokens.
        cached_usd_per_million: Price of a million prompt tokens that the endpoint had in its
            cache; that of other prompt tokens where it is left out.
        completion_usd_per_million: Price of a million completion tokens.
    """

    max_cost_usd: Annotated[Real, Field(gt=0)] | None = None
    max_tokens: Positive | None = None
    max_calls: Positive | None = None
    prompt_usd_per_million: Annotated[Real, Field(ge=0)] | None = None
    cached_usd_per_million: Annotated[Real, Field(ge=0)] | None = None
    completion_usd_per_million: Annotated[Real, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _priced(self) -> BudgetSettings:
        prices = (self.prompt_usd_per_million, self.completion_usd_per_million)
        if None in prices and (
            self.max_cost_usd is not None or any(price is not None for price in prices)
        ):
            raise ValueError(
                "prompt_usd_per_million and completion_usd_per_million are needed together, and "
                "both for max_cost_usd: see the endpoint's price list"
            )
        if self.cached_usd_per_million is not None and None in prices:
            raise ValueError("cached_usd_per_million is of no use without the other two prices")
        return self


class JournalSettings(_Settings):
    """What is done about calls whose process died between asking and recording.

    Attributes:
        possibly_paid_twice: `retry` asks again and counts it; `hold` leaves the call as a dead
            letter until `rddg retry-dead DIR`.
    """

    possibly_paid_twice: Literal["retry", "hold"] = "retry"


class EndpointSettings(_Settings):
    """Where completions come from.

    The key itself is never a setting: `api_key_env` names an environment variable and
    `api_key_file` a file, read where the calls are made. `send_call_header` names each call to
    the server in the header `x-rddg-call`; the embedded endpoint, which counts by it, is always
    told.

    `max_concurrency` bounds the calls in flight over the whole run; those that wait for their turn
    at the limits do not count. 256 do not hold back 3,000 requests a minute at 5 s a reply, keep
    clear of the 1,024 open files that systems allow, and are as many as one process can serve.

    `give_up_after_s` is how long an outage, or refusals (429) of one call, may last before the run
    stops, to be gone on with by another start.
    """

    kind: Literal["embedded", "openai", "replay"] = "embedded"
    base_url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    timeout_s: Annotated[Real, Field(gt=0)] = 120.0
    max_attempts: Positive = 6
    give_up_after_s: Annotated[Real, Field(gt=0)] = 900.0
    max_concurrency: Positive = 256
    send_call_header: bool = False
    replay_path: Path | None = None
    embedded: EmbeddedSettings = EmbeddedSettings()
    limits: LimitSettings = LimitSettings()
    budget: BudgetSettings = BudgetSettings()
    journal: JournalSettings = JournalSettings()

    @model_validator(mode="after")
    def _consistent(self) -> EndpointSettings:
        if self.kind == "openai" and self.base_url is None:
            raise ValueError("base_url is needed for kind 'openai', e.g. https://api.openai.com/v1")
        if self.kind == "openai" and not self.model:
            raise ValueError("model is needed for kind 'openai': the name the endpoint knows it by")
        if self.kind == "replay" and self.replay_path is None:
            raise ValueError("replay_path is needed for kind 'replay': a recordings file")
        if self.api_key_env and self.api_key_file:
            raise ValueError("give api_key_env or api_key_file, not both")
        return self


class EvaluationSettings(_Settings):
    """The classifier grid.

    Attributes:
        protocol: `clean` fits encoders without the test rows; `paper` as the authors did.
        classifier_states: Random states of each classifier.
        max_synthetic_rows: Synthetic rows added to the training rows at most, the first ones;
            None for all, or 1,000 by the paper's protocol, as the authors did.
        baseline_rows: Rows that baselines add: `balance` until all classes are equally large;
            `same` as many of each class as the generated rows they stand beside (those of the
            method a report speaks of first); or that number for every class.
        threshold_metric: What `tuned_threshold` raises on out-of-fold training rows.
        tuning: `none` for the paper's settings of each classifier; `search` for the best of
            eight by out-of-fold PR AUC on the real training rows, which takes some 16 fits more
            for each table and classifier.
    """

    protocol: Literal["clean", "paper"] = "clean"
    classifiers: Annotated[
        tuple[Literal["xgboost", "catboost", "lightgbm", "gradient_boosting"], ...],
        Field(min_length=1),
        AfterValidator(_distinct),
    ] = ("xgboost", "catboost", "lightgbm", "gradient_boosting")
    classifier_states: Annotated[
        tuple[RandomState, ...], Field(min_length=1), AfterValidator(_distinct)
    ] = (0, 1, 2, 3, 4)
    max_synthetic_rows: Positive | None = None
    baseline_rows: Annotated[
        Literal["balance", "same"] | Positive,
        _said_as("expected 'balance', 'same' or a number of rows for every class, from 1"),
    ] = "balance"
    threshold_metric: Literal["f1", "balanced_accuracy"] = "f1"
    tuning: Literal["none", "search"] = "none"


class TableSettings(_Settings):
    """One table of a run: a catalog name (`dataset`) or a file (`path`) with its `target`.

    Attributes:
        name: Name in results; defaults to the data set's or the file's.
        path: A CSV or Parquet file; with `dataset`, where that set's file (or folder) lies.
        url: With `dataset`, where that set's file is fetched from; checked by hash and cached.
        test_path: Held-out rows; without it `test_share` of the rows is split off.
        metadata: SDV Metadata V2 JSON that overrides what is inferred.
        rare_class: Which class is the rare one; defaults to the smallest.
        split: `random`, or the `authors` split of a catalog set that has one.
        imbalance_ratio: Makes the training rows imbalanced, largest class over rarest. Test rows
            stay as they are, so that there are rare ones enough to measure on.
        keep_duplicates_together: Equal rows fall on one side of the split.
    """

    name: str | None = None
    dataset: str | None = None
    path: str | None = None
    url: str | None = None
    test_path: str | None = None
    target: str | None = None
    metadata: Path | None = None
    missing_values: tuple[str, ...] = MISSING_TOKENS
    rare_class: str | None = None
    imbalance_ratio: Annotated[Real, Field(ge=1)] | None = None
    split: Literal["random", "authors"] = "random"
    test_share: Annotated[Real, Field(gt=0, lt=1)] = 0.2
    split_random_state: RandomState = 0
    keep_duplicates_together: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> TableSettings:
        if self.dataset is None and self.path is None:
            raise ValueError("give dataset (a catalog name) or path (a CSV or Parquet file)")
        if self.dataset is None and self.target is None:
            raise ValueError("target is needed for a table given by path")
        if self.dataset is None and self.url is not None:
            raise ValueError("url is for a catalog set; download the file and give its path")
        return self

    @property
    def label(self) -> str:
        """Return the table's name in results."""
        return self.name or self.dataset or Path(str(self.path)).stem


class SynthesisSettings(_Settings):
    """What `generate` needs: one method for one table in memory."""

    method: GenerativeMethod = "rddg_calibrated"
    random_state: Annotated[int, Field(ge=0)] = 0
    coreset: CoresetSettings = CoresetSettings()
    generation: GenerationSettings = GenerationSettings()
    endpoint: EndpointSettings = EndpointSettings()


class RunSettings(_Settings):
    """A whole run: tables x methods x generator random states, one endpoint.

    Attributes:
        recorded_chains: Of each table and method, the first chains whose calibration is written
            down round by round; it changes no row.
    """

    name: str = "run"
    output: Path = Path("runs/run")
    random_state: RandomState = 0
    tables: Annotated[tuple[TableSettings, ...], Field(min_length=1)]
    methods: Annotated[
        tuple[BaselineMethod | ExtraMethod | GenerativeMethod, ...],
        Field(min_length=1),
        AfterValidator(_distinct),
    ] = ("original", "random_oversampling", "smotenc", "epic", "rddg_calibrated")
    generator_states: Annotated[
        tuple[RandomState, ...], Field(min_length=1), AfterValidator(_distinct)
    ] = (0,)
    coreset: CoresetSettings = CoresetSettings()
    generation: GenerationSettings = GenerationSettings()
    endpoint: EndpointSettings = EndpointSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    recorded_chains: Count = 20

    @model_validator(mode="after")
    def _unique_names(self) -> RunSettings:
        labels = [table.label for table in self.tables]
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            raise ValueError(f"tables: two tables are named {repeated[0]!r}; set name on one")
        return self

    def row_settings(self) -> dict[str, Any]:
        """Return the settings that can change a row already generated, as plain values.

        Which tables, methods and generator states a run has is not among them, so that a run
        can be extended; nor is where results go, at which address the model is reached, how
        fast calls fly, where the key is read from, or what the classifier grid does.
        """
        endpoint = self.endpoint.model_dump(mode="json")
        for key in _CONNECTION_KEYS:
            endpoint.pop(key)
        for part in ("send_call_header", "limits", "budget", "journal"):
            endpoint.pop(part)
        for key in _NO_PART_OF_A_REPLY:
            endpoint["embedded"].pop(key)
        generation = self.generation.model_dump(mode="json")
        for key in _LIMIT_KEYS:
            generation.pop(key)
        if generation["rules"]:
            generation["rules"] = generation["rules"]["items"]  # wherever they were read from
        for key, value in _AS_BEFORE.items():
            if generation[key] == value:
                generation.pop(key)
        return {
            "random_state": self.random_state,
            "coreset": self.coreset.model_dump(mode="json"),
            "generation": generation,
            "endpoint": endpoint,
        }

    def fingerprint(self) -> str:
        """Return the hash of `row_settings`, 16 hexadecimal digits: what names a run's calls."""
        content = json.dumps(self.row_settings(), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def load_settings(path: Path | str, overrides: Mapping[str, Any] | None = None) -> RunSettings:
    """Read a YAML settings file.

    Args:
        path: The file. Relative table paths in it are relative to the working directory.
        overrides: Top-level keys that replace the file's.

    Raises:
        ConfigError: If the file cannot be read or a key is unknown or wrong; the message
            names the file, the key and the value.
    """
    path = Path(path)
    return settings_from({**read_yaml(path), **(overrides or {})}, source=str(path))


def settings_from(content: Mapping[str, Any], source: str = "settings") -> RunSettings:
    """Build a run's settings from plain values; see `checked`."""
    return checked(RunSettings, content, source)


def checked(kind: type[AnySettings], content: Mapping[str, Any], source: str) -> AnySettings:
    """Build settings of one kind from plain values.

    Args:
        kind: One of this module's classes.
        content: Keys and values.
        source: What is named in errors: a file, or where else the values come from.

    Raises:
        ConfigError: If a key is unknown or a value wrong; the message names source, key, value.
    """
    try:
        return kind.model_validate(dict(content))
    except ValidationError as error:
        raise ConfigError(explain(error, content, kind, source)) from error
