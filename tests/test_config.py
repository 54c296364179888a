from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rddg_ray.config import RunSettings, load_settings, settings_from
from rddg_ray.errors import ConfigError

TABLE = {"path": "rows.csv", "target": "class"}


def _settings(**changes: object) -> RunSettings:
    return settings_from({"tables": [TABLE], **changes})


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _refusal(content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        settings_from({"tables": [TABLE], **content}, source="run.yaml")
    return str(caught.value)


def test_a_table_alone_is_a_whole_run() -> None:
    settings = _settings()
    assert settings.tables[0].label == "rows"
    assert settings.methods == (
        "original", "random_oversampling", "smotenc", "epic", "rddg_calibrated",
    )  # fmt: skip


def test_settings_cannot_be_changed_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        _settings().random_state = 3  # type: ignore[misc]  # what is refused


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"metods": ["rddg"]}, "metods = ['rddg']: there is no such key; did you mean 'methods'?"),
        ({"coreset": {"epoch": 9}}, "coreset.epoch = 9: there is no such key; did you mean 'epo"),
        ({"generation": {"feedback": {"means": 1}}}, "generation.feedback.means = 1: there is no"),
        ({"tables": [{**TABLE, "test_shar": 0.1}]}, "tables.0.test_shar = 0.1: there is no such"),
        ({"endpoint": {"embedded": {"biass": 1}}}, "did you mean 'bias'?"),
        ({"coreset": {"zzz": 1}}, "known: batch_size, ensemble, epochs"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    content: dict[str, Any], said: str
) -> None:
    assert f"run.yaml: {said}" in _refusal(content) or said in _refusal(content)


@pytest.mark.parametrize(
    ("content", "key", "value"),
    [
        ({"random_state": -1}, "random_state", "-1"),
        ({"random_state": True}, "random_state", "True"),
        ({"random_state": 1.5}, "random_state", "1.5"),
        ({"methods": ["rdg"]}, "methods.0", "'rdg'"),
        ({"methods": ["rddg", "epic", "rddg"]}, "methods", "['rddg', 'epic', 'rddg']"),
        ({"methods": []}, "methods", "[]"),
        ({"generator_states": []}, "generator_states", "[]"),
        ({"generator_states": [0, 0]}, "generator_states", "[0, 0]"),
        ({"tables": []}, "tables", "[]"),
        ({"coreset": {"epochs": 5}}, "coreset.epochs", "5"),
        ({"coreset": {"learning_rate": 0}}, "coreset.learning_rate", "0"),
        ({"coreset": {"learning_rate": float("nan")}}, "coreset.learning_rate", "nan"),
        ({"coreset": None}, "coreset", "None"),
        ({"generation": {"codes": 5}}, "generation.codes", "5"),
        ({"generation": {"rows_per_class": -1}}, "generation.rows_per_class", "-1"),
        ({"generation": {"rows_per_class": {"a": -1}}}, "generation.rows_per_class.a", "-1"),
        ({"generation": {"sampling_strategy": "most"}}, "generation.sampling_strategy", "'most'"),
        ({"generation": {"sampling_strategy": 0}}, "generation.sampling_strategy", "0"),
        ({"generation": {"sampling_strategy": 1.2}}, "generation.sampling_strategy", "1.2"),
        ({"generation": {"temperature": 2.5}}, "generation.temperature", "2.5"),
        ({"generation": {"feedback": {"mean": True}}}, "generation.feedback.mean", "True"),
        ({"endpoint": {"embedded": {"error_share": 2}}}, "endpoint.embedded.error_share", "2"),
        ({"endpoint": {"timeout_s": 0}}, "endpoint.timeout_s", "0"),
        ({"evaluation": {"protocol": "mine"}}, "evaluation.protocol", "'mine'"),
        ({"evaluation": {"classifier_states": [1, 1]}}, "evaluation.classifier_states", "[1, 1]"),
        ({"evaluation": {"classifier_states": []}}, "evaluation.classifier_states", "[]"),
        ({"evaluation": {"classifiers": []}}, "evaluation.classifiers", "[]"),
        (
            {"evaluation": {"classifiers": ["xgboost"] * 2}},
            "evaluation.classifiers",
            "['xgboost', 'xgboost']",
        ),
        ({"tables": [{**TABLE, "test_share": 1}]}, "tables.0.test_share", "1"),
        ({"tables": [{**TABLE, "imbalance_ratio": 0.5}]}, "tables.0.imbalance_ratio", "0.5"),
        ({"tables": [{"path": "rows.csv"}]}, "tables.0", "{'path': 'rows.csv'}"),
        ({"tables": [{"target": "class"}]}, "tables.0", "{'target': 'class'}"),
        ({"tables": [7]}, "tables.0", "7"),
    ],
)
def test_a_wrong_value_is_refused_with_file_key_and_value(
    content: dict[str, Any], key: str, value: str
) -> None:
    assert f"run.yaml: {key} = {value}: " in _refusal(content)


@pytest.mark.parametrize("strategy", [2, 0, 1.5, -0.5, "most", True, None, [1]])
def test_a_wrong_strategy_is_refused_in_one_sentence(strategy: object) -> None:
    assert _refusal({"generation": {"sampling_strategy": strategy}}) == (
        f"run.yaml: generation.sampling_strategy = {strategy!r}: expected one of 'auto', "
        "'minority', 'not majority', 'not minority', 'all', a ratio in (0, 1] of two classes, or "
        "the wanted number of rows by class"
    )


@pytest.mark.parametrize("rows", [-1, "ten", 1.5, True])
def test_a_wrong_number_of_rows_is_refused_in_one_sentence(rows: object) -> None:
    assert _refusal({"generation": {"rows_per_class": rows}}) == (
        f"run.yaml: generation.rows_per_class = {rows!r}: expected a number of rows to add to "
        "every class, from 0, or one by class"
    )


@pytest.mark.parametrize("strategy", ["minority", 0.5, 1, {"a": 0, "b": 7}])
def test_every_form_of_strategy_is_kept_as_given(strategy: object) -> None:
    settings = _settings(generation={"sampling_strategy": strategy})
    assert settings.generation.sampling_strategy == strategy
    again = settings_from(settings.model_dump(mode="json"))
    assert again.generation == settings.generation


def test_a_wrong_value_in_a_list_is_named_once() -> None:
    said = _refusal({"tables": [{**TABLE, "test_share": 1.5}]})
    assert len(said.splitlines()) == 1


def test_every_wrong_key_is_named_at_once() -> None:
    said = _refusal({"name": [], "coreset": {"epochs": 1}, "metods": 1})
    assert len(said.splitlines()) == 3


@pytest.mark.parametrize(
    ("endpoint", "needed"),
    [
        ({"kind": "openai", "model": "m"}, "base_url"),
        ({"kind": "openai", "base_url": "http://localhost:1/v1"}, "model"),
        ({"kind": "replay"}, "replay_path"),
        ({"api_key_env": "A", "api_key_file": "b"}, "not both"),
    ],
)
def test_an_endpoint_says_what_it_lacks(endpoint: dict[str, str], needed: str) -> None:
    said = _refusal({"endpoint": endpoint})
    assert "run.yaml: endpoint = " in said
    assert needed in said


def test_a_key_written_into_the_settings_is_refused_without_being_shown() -> None:
    said = _refusal({"endpoint": {"api_key": "sk-12345"}})
    assert "did you mean 'api_key_env'?" in said
    assert "12345" not in said


def test_two_tables_of_one_name_are_refused() -> None:
    said = _refusal({"tables": [TABLE, {**TABLE, "path": "other/rows.csv"}]})
    assert "two tables are named 'rows'" in said


def test_settings_are_read_from_yaml(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        "tables: [{path: a.csv, target: y}]\ncoreset: {learning_rate: 1e-3, epochs: 12}\n",
    )
    settings = load_settings(path, {"name": "mine"})
    assert (settings.coreset.learning_rate, settings.coreset.epochs) == (0.001, 12)
    assert settings.name == "mine"


def test_class_names_like_yes_and_0_need_no_quotes(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        "tables: [{path: a.csv, target: on, rare_class: No}]\n"
        "generation: {rows_per_class: {Yes: 3, no: 4, 0: 5}, codes: no}\n",
    )
    settings = load_settings(path)
    assert settings.generation.rows_per_class == {"Yes": 3, "no": 4, "0": 5}
    assert (settings.tables[0].target, settings.tables[0].rare_class) == ("on", "No")
    assert settings.generation.codes is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nname: b\n", "'name' is given twice"),
        ("coreset: {epochs: 7, epochs: 8}\n", "'epochs' is given twice"),
        ("a: [1\n", "cannot be read as YAML"),
        ("- 1\n", "expected keys and values"),
        ("", "expected keys and values"),
        ("name: !!python/object:os.system {}\n", "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_settings_is_refused_by_name(
    tmp_path: Path, text: str, said: str
) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_absent_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yaml: cannot be read"):
        load_settings(tmp_path / "no.yaml")


def test_two_mappings_may_hold_the_same_key(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        "tables:\n- &t {path: a.csv, target: y}\n- {<<: *t, path: b.csv, name: c}\n",
    )
    assert [table.path for table in load_settings(path).tables] == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    "change",
    [
        {"random_state": 1},
        {"coreset": {"epochs": 99}},
        {"generation": {"rows_per_class": 10}},
        {"generation": {"sampling_strategy": "all"}},
        {"generation": {"codes": False}},
        {"generation": {"temperature": 0.1}},
        {"generation": {"max_completion_tokens": "auto"}},
        {"generation": {"reply_format": "json_schema"}},
        {"generation": {"feedback": {"mean": 0.5}}},
        {"endpoint": {"embedded": {"bias": 0.2}}},
        {"endpoint": {"embedded": {"random_state": 1}}},
        {"endpoint": {"kind": "openai", "base_url": "http://localhost:1/v1", "model": "m"}},
    ],
)
def test_what_changes_a_row_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert _settings(**change).fingerprint() != _settings().fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"output": "elsewhere"},
        {"methods": ["rddg"]},
        {"generator_states": [0, 1]},
        {"evaluation": {"classifier_states": [0]}},
        {"endpoint": {"timeout_s": 3}},
        {"endpoint": {"max_attempts": 2}},
        {"endpoint": {"max_concurrency": 2}},
        {"endpoint": {"base_url": "http://localhost:1/v1"}},
        {"endpoint": {"api_key_env": "KEY"}},
        {"endpoint": {"embedded": {"latency_s": 0.1}}},
        {"endpoint": {"embedded": {"requests_per_minute": 9, "policy": "fixed_window"}}},
        {"endpoint": {"embedded": {"tokens_per_minute": 9, "token_accounting": "actual"}}},
        {"endpoint": {"embedded": {"rate_headers": False, "retry_after": False}}},
        {"endpoint": {"limits": {"requests_per_minute": 9, "pace": 0.5}}},
        {"endpoint": {"send_call_header": True}},
        {"endpoint": {"embedded": {"error_share": 0.1, "error_status": 429}}},
        {"coreset": {"epochs": 100}},
        {"generation": {"reply_format": "csv"}},
    ],
)
def test_what_changes_no_row_leaves_the_fingerprint(change: dict[str, Any]) -> None:
    assert _settings(**change).fingerprint() == _settings().fingerprint()


def test_the_format_of_replies_does_not_part_a_run_from_its_journal_unless_it_is_changed() -> None:
    assert "reply_format" not in _settings().row_settings()["generation"]


@pytest.mark.parametrize("cap", [900, "auto", None])
def test_a_cap_on_replies_is_a_number_or_learned_or_none(cap: object) -> None:
    assert (
        _settings(generation={"max_completion_tokens": cap}).generation.max_completion_tokens == cap
    )


@pytest.mark.parametrize("cap", [0, -1, "most", True, 1.5])
def test_any_other_cap_on_replies_is_refused_in_words(cap: object) -> None:
    refusal = _refusal({"generation": {"max_completion_tokens": cap}})
    assert "generation.max_completion_tokens = " in refusal
    assert "a number of tokens from 1, 'auto'" in refusal
