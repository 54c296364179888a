"""The command line: what goes in, what comes out, and the code it ends with."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pandas as pd
import pytest

from rddg_ray.cli import drain, main
from rddg_ray.config import EmbeddedSettings
from rddg_ray.llm.embedded import serve_in_thread
from rddg_ray.runtime.local import LocalExecutor
from rddg_ray.runtime.progress import FlightCounter, SilentProgress

RDDG = [sys.executable, "-c", "from rddg_ray.cli import main; main()"]
HEAVY = ("ray", "torch", "sklearn", "pandas", "openai", "aiohttp", "xgboost", "matplotlib")


@pytest.fixture
def rddg(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["rddg", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    yield command
    signal.signal(signal.SIGTERM, handler)


def people(n_rows=40, n_rare=8, random_state=0):
    rng = np.random.default_rng(random_state)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, n_rows),
            "weight": rng.normal(70.0, 9.0, n_rows).round(1),
            "site": rng.choice(["Köln", "Oslo"], n_rows),
            "state": ["ill"] * n_rare + ["well"] * (n_rows - n_rare),
        }
    )


def six_classes():
    rng = np.random.default_rng(1)
    state = np.repeat(list("abcdef"), [60, 30, 20, 10, 8, 5])
    return pd.DataFrame({"x": rng.normal(0, 1, 133).round(2), "n": rng.integers(0, 99, 133),
                         "state": state})  # fmt: skip


def odd_names():
    return people(60, 12).rename(columns={"weight": 'price, "net" {EUR}', "site": "a\nb"})


def mostly_missing():
    table = people(150, 30)
    rng = np.random.default_rng(2)
    for name in ("age", "weight", "site"):
        table[name] = table[name].astype(object).where(rng.random(150) > 0.6)
    return table


def wide():
    rng = np.random.default_rng(3)
    numbers = pd.DataFrame(rng.normal(0, 1, (60, 198)).round(2)).add_prefix("c")
    return numbers.assign(site=rng.choice(["x", "y"], 60), state=["ill"] * 12 + ["well"] * 48)


TABLES = {
    "40 rows": people,
    "six classes": six_classes,
    "odd names": odd_names,
    "60% missing": mostly_missing,
    "200 columns": wide,
}


@pytest.mark.parametrize("name", TABLES)
def test_the_asked_number_of_new_valid_rows_comes_out(rddg, name):
    table = TABLES[name]()
    table.to_csv("in.csv", index=False)
    rare = table["state"].value_counts().index[-1]
    code, out, err = rddg("generate", "in.csv", "-t", "state", "-n", "25", "-o", "out.csv")
    assert code == 0, err
    real, made = (pd.read_csv(path, dtype="str") for path in ("in.csv", "out.csv"))
    assert list(made.columns) == list(real.columns)
    assert len(made) == 25
    assert set(made["state"]) == {rare}
    assert not {*made.itertuples(index=False)} & {*real.itertuples(index=False)}
    assert not made.duplicated().any()
    for column in real.columns:
        given, new = real[column].dropna(), made[column].dropna()
        if column in ("site", "a\nb"):
            assert set(new) <= set(given)
        elif column != "state":
            places = given.str.partition(".")[2].str.len().max()
            assert new.str.partition(".")[2].str.len().max() <= places
            assert pd.to_numeric(new).notna().all()
        assert not made[column].isna().any() or real[column].isna().any()
    assert "Wrote out.csv (25 rows)" in out
    assert "not by a language model" in out
    assert all(json.loads(line)["step"] for line in err.splitlines())


def test_columns_that_are_left_out_are_named_with_the_reason(rddg):
    people().assign(case_id=range(40), country="NO").to_csv("in.csv", index=False)
    for command in (["generate", "-n", "5"], ["preview"]):
        _, out, _ = rddg(command[0], "in.csv", "-t", "state", *command[1:])
        assert "in: column 'case_id' is not shown or learned (id: " in out
        assert "in: column 'country' is not shown or learned (constant: every cell is 'NO')" in out
    made = pd.read_csv("in-synthetic.csv")
    assert made["case_id"].tolist() == [40, 41, 42, 43, 44]
    assert (made["country"] == "NO").all()


def test_parquet_in_and_out_keeps_types(rddg):
    table = people().assign(smokes=[True, False] * 20)
    table.to_parquet("in.parquet", index=False)
    options = ("--per-class", "ill=12", "--per-class", "well=3", "-o", "new/out.parquet")
    assert rddg("generate", "in.parquet", "-t", "state", *options)[0] == 0
    made = pd.read_parquet("new/out.parquet")
    assert made["state"].value_counts().to_dict() == {"ill": 12, "well": 3}
    assert {name: made[name].dtype.kind for name in ("age", "weight", "smokes")} == {
        "age": "i",
        "weight": "f",
        "smokes": "b",
    }


def test_the_same_command_asks_nothing_again_and_another_one_starts_anew(rddg, tmp_path):
    people().to_csv("in.csv", index=False)
    with serve_in_thread(EmbeddedSettings()) as server:
        options = ("--base-url", server.base_url, "--model", "embedded-sampler")
        command = ("generate", "in.csv", "-t", "state", *options, "-n")
        assert rddg(*command, "10")[0] == 0
        first, n_requests = pd.read_csv("in-synthetic.csv"), server.n_requests
        assert rddg(*command, "10")[0] == 0
        assert server.n_requests == n_requests
        pd.testing.assert_frame_equal(pd.read_csv("in-synthetic.csv"), first)
        assert rddg(*command, "11")[0] == 0
        assert server.n_requests > n_requests
    assert len(list((tmp_path / "runs").glob("in-*"))) == 2


RANGE = {"type": "range", "column": "age", "low": 0, "name": "grown"}


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ([RANGE, RANGE | {"column": "pulse"}], ["rule 2 ('grown')", "column = 'pulse'"]),
        ([RANGE | {"lo": 3}], ["rule 1 ('grown')", "lo"]),
        ([RANGE | {"low": "high"}], ["rule 1 ('grown')", "low = 'high'"]),
        ([RANGE | {"type": "rank"}], ["rule 1 ('grown')", "type = 'rank'"]),
        ([RANGE | {"low": 500}], ["rule 1 ('grown')", "'age'", "0 of the 40 real rows"]),
        ([], ["rules = []", "at least one rule"]),
    ],
)
def test_a_wrong_file_of_rules_is_named_down_to_the_key_before_anything_is_asked(
    rddg, tmp_path, rules, named
):
    people().to_csv("in.csv", index=False)
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({"rules": rules}))
    with serve_in_thread(EmbeddedSettings()) as server:
        endpoint = ("--base-url", server.base_url, "--model", "embedded-sampler")
        command = ("generate", "in.csv", "-t", "state", "-n", "5", *endpoint, "--rules", file,
                   "--run-dir", "kept")  # fmt: skip
        code, _, err = rddg(*command)
        assert code == 78
        for text in ("mine.yaml", *named):
            assert text in err
        assert server.n_requests == 0
        # Once it is right, the same command goes through.
        file.write_text(json.dumps({"rules": [RANGE]}))
        assert rddg(*command)[0] == 0
    code, _, err = rddg("preview", "in.csv", "-t", "state", "--rules", "none.yaml")
    assert code == 78
    assert "none.yaml: there is no such file" in err


def test_a_run_s_settings_name_a_wrong_rule_too(rddg, tmp_path):
    people().to_csv("in.csv", index=False)
    (tmp_path / "mine.yaml").write_text(json.dumps({"rules": [RANGE | {"low": 500}]}))
    settings = {"output": "kept", "tables": [{"path": "in.csv", "target": "state"}],
                "generation": {"rules": "mine.yaml"}}  # fmt: skip
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    code, _, err = rddg("run", "run.yaml", "--no-ray")
    assert code == 78
    assert "mine.yaml (table 'in'): rule 1 ('grown')" in err
    assert not (tmp_path / "kept").exists()


def test_the_rules_of_a_run_are_shown_with_what_the_real_rows_say(rddg, tmp_path):
    people(120, 30).to_csv("in.csv", index=False)
    (tmp_path / "mine.json").write_text(json.dumps({"rules": [RANGE]}))
    command = ("generate", "in.csv", "-t", "state", "--run-dir", "kept", "--rules", "mine.json")
    assert rddg(*command, "-n", "20")[0] == 0
    code, out, _ = rddg("rules", "kept")
    assert code == 0
    assert "Rules for in by rddg_calibrated, 1 chain: " in out
    [line] = [line for line in out.splitlines() if '"age" is at least 0' in line]
    assert "kept" in line
    assert "user" in line
    assert "holds in all of 120 real rows" in line
    code, out, _ = rddg("rules", "kept", "--json")
    entries = json.loads(out)
    assert {"kept", "dropped"} <= {entry["state"] for entry in entries}
    code, out, _ = rddg("rules", "kept", "--json", "--dropped")
    assert json.loads(out) == [entry for entry in entries if entry["state"] != "kept"]
    code, out, _ = rddg("rules", "kept", "--chain", "rddg_calibrated/g0/0")
    assert "In the words of the model, chain rddg_calibrated/g0/0:" in out
    code, _, err = rddg("rules", "kept", "--chain", "rddg/g0/7")
    assert code == 73
    assert "there is no chain 'rddg/g0/7'; known: rddg_calibrated/g0/0" in err
    assert rddg("rules", "nowhere")[0] == 73


def test_the_summary_says_what_was_refused_as_copies_judged_ruled_and_said(rddg):
    table = people(150, 40)
    table.loc[table["state"] == "ill", "weight"] += 40
    table.to_csv("in.csv", index=False)
    flaws = EmbeddedSettings(copy_share=0.5, bias=0.8)
    with serve_in_thread(flaws) as server:
        options = ("--base-url", server.base_url, "--model", "embedded-sampler")
        code, out, _ = rddg("generate", "in.csv", "-t", "state", *options, "-n", "150",
                            "--run-dir", "kept")  # fmt: skip
    assert code == 0
    made = pd.read_csv("in-synthetic.csv", dtype="str")
    real = pd.read_csv("in.csv", dtype="str")
    assert not {*made.itertuples(index=False)} & {*real.itertuples(index=False)}
    refused = re.search(r"Refused: .*?\bcopy (\d+)", out)
    copies = re.search(r"Copies refused: (\d+) equal and \d+ nearly equal to a real row, "
                       r"\d+ of them to one that the prompt showed; of the real rows themselves "
                       r"0\.0% equal another one, [\d.]+% equal or nearly equal", out)  # fmt: skip
    assert refused[1] == copies[1]
    assert int(copies[1]) > 30
    assert re.search(r"Implausible to models of the real rows: \d+ of \d+ rows of class 'ill'", out)
    assert re.search(r"Rules: \d+ kept, \d+ dropped, \d+ not read; see rddg rules kept", out)
    assert re.search(r"Calibration: [1-9]\d* figures said over \d+ rounds, most often the ", out)
    assert "For each of 150 accepted rows: " in out


def test_a_run_directory_of_another_run_is_refused_with_what_to_do(rddg):
    people().to_csv("in.csv", index=False)
    command = ("generate", "in.csv", "-t", "state", "--run-dir", "kept")
    assert rddg(*command, "-n", "5", "--method", "epic")[0] == 0
    code, _, err = rddg(*command, "-n", "6", "--method", "epic")
    assert code == 73
    assert "generation.rows_per_class.ill: 5 -> 6" in err
    assert "--run-dir" in err
    people(random_state=9).to_csv("in.csv", index=False)
    code, _, err = rddg(*command, "-n", "5", "--method", "epic")
    assert code == 73
    assert "the rows or columns of table 'in'" in err


def test_rows_for_another_target_or_table_of_the_same_name_are_made_anew(rddg, tmp_path):
    people().assign(site=["Köln", "Oslo"] * 20).to_csv("in.csv", index=False)
    assert rddg("generate", "in.csv", "-t", "state", "-n", "5", "-o", "a.csv")[0] == 0
    assert rddg("generate", "in.csv", "-t", "site", "-n", "5", "-o", "b.csv")[0] == 0
    assert set(pd.read_csv("a.csv")["state"]) == {"ill"}
    assert pd.read_csv("b.csv")["site"].nunique() == 1
    people(n_rows=50).to_csv("in.csv", index=False)
    assert rddg("generate", "in.csv", "-t", "state", "-n", "5", "-o", "c.csv")[0] == 0
    assert len(list((tmp_path / "runs").glob("in-*"))) == 3


def test_a_class_named_like_markup_is_printed_as_it_is(rddg, tmp_path):
    table = people().replace({"state": {"ill": "[/red]", "well": "[bold]"}})
    table.to_csv("in.csv", index=False)
    (tmp_path / "run.yaml").write_text(
        "output: run\ntables: [{path: in.csv, target: state}]\nmethods: [original, epic]\n"
        "generation: {rows_per_class: {'[/red]': 40}, max_rounds: 1}\n"
        "evaluation: {classifiers: [lightgbm], classifier_states: [0]}\n",
        "utf-8",
    )
    code, out, err = rddg("run", "run.yaml", "--no-ray")
    assert (code, "[/red] " in out) == (3, True), err
    assert "index.html" in out


def test_a_shortfall_goes_on_where_it_ended_under_a_higher_limit(rddg):
    people().to_csv("in.csv", index=False)
    with serve_in_thread(EmbeddedSettings()) as server:
        options = ("--base-url", server.base_url, "--model", "embedded-sampler", "-n", "30")
        assert rddg("generate", "in.csv", "-t", "state", *options, "--max-calls", "3")[0] == 3
        assert server.n_requests == 3
        assert rddg("generate", "in.csv", "-t", "state", *options)[0] == 0
        n_requests = server.n_requests
        rddg("generate", "in.csv", "-t", "state", *options, "-o", "again.csv")
        assert server.n_requests == n_requests
    assert len(pd.read_csv("in-synthetic.csv")) == 30


def test_a_shortfall_ends_with_3_and_keeps_the_rows_there_are(rddg):
    people().to_csv("in.csv", index=False)
    code, out, _ = rddg("generate", "in.csv", "-t", "state", "-n", "99", "--max-calls", "3")
    assert code == 3
    assert 0 < len(pd.read_csv("in-synthetic.csv")) <= 15
    assert "max_calls" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-t", "nope"], 65, "nope"),
        (["-t", "state", "--per-class", "ill"], 78, "CLASS=ROWS"),
        (["-t", "state", "--per-class", "dead=4"], 78, "'dead'"),
        (["-t", "state", "-n", "5", "--strategy", "auto"], 78, "--rows and --strategy"),
        (["-t", "state", "--strategy", "most"], 78, "most"),
        (["-t", "state", "--method", "smote"], 78, "method"),
        (["-t", "state", "--base-url", "http://127.0.0.1:9/v1"], 78, "model"),
        (["-t", "state", "--base-url", "nonsense", "--model", "m"], 78, "base_url"),
        (["-t", "state", "--api-key-env", "RDDG_NO_SUCH"], 78, "RDDG_NO_SUCH"),
        (["-t", "state", "--replay", "nope.jsonl"], 78, "nope.jsonl"),
        (["-t", "state", "-o", "rows.xlsx"], 78, "rows.xlsx"),
        (["-t", "state", "-o", "in.csv/rows.csv"], 78, "in.csv/rows.csv"),
        (["-t", "state", "-o", "/proc/none/rows.csv"], 78, "/proc/none/rows.csv"),
        (["-t", "state", "--per-class", "ill=3", "--per-class", "ill=9"], 78, "'ill' twice"),
        (["-t", "state", "--address", "127.0.0.1:9"], 78, "127.0.0.1:9"),
        (["-t", "state", "-n", "0"], 2, "-n"),
    ],
)
def test_what_the_user_must_change_is_named_with_its_code(rddg, arguments, code, words):
    people().to_csv("in.csv", index=False)
    found, out, err = rddg("generate", "in.csv", *arguments)
    assert (found, words in err) == (code, True), err
    assert "Traceback" not in err
    assert out == ""


def test_a_table_that_cannot_be_used_is_named_with_its_code(rddg, tmp_path):
    code, _, err = rddg("generate", "nope.csv", "-t", "state")
    assert (code, "nope.csv" in err) == (65, True)
    (tmp_path / "one.csv").write_text("state,x\na,1\na,2\n")
    assert rddg("generate", "one.csv", "-t", "state")[0] == 65


@pytest.mark.parametrize(
    ("settings", "key", "code", "words"),
    [
        ({}, "right", 0, ""),
        ({}, "wrong", 77, "refused the key"),
        ({"error_share": 1.0, "error_status": 503}, "right", 75, "503"),
    ],
)
def test_an_endpoint_that_refuses_or_fails_decides_the_code(  # noqa: PLR0917 - by name
    rddg, tmp_path, monkeypatch, settings, key, code, words
):
    people().to_csv("in.csv", index=False)
    monkeypatch.setenv("RDDG_TEST_KEY", f"secret-{key}-value")
    config = tmp_path / "run.yaml"
    with serve_in_thread(EmbeddedSettings(**settings), api_key="secret-right-value") as server:
        config.write_text(
            f"tables: [{{path: in.csv, target: state}}]\nmethods: [epic]\noutput: out\n"
            f"generation: {{rows_per_class: {{ill: 3}}}}\n"
            f"evaluation: {{classifiers: [xgboost], classifier_states: [0]}}\n"
            f"endpoint: {{base_url: '{server.base_url}', api_key_env: RDDG_TEST_KEY, "
            f"max_attempts: 1}}\n"
        )
        found, out, err = rddg("run", config, "--no-ray")
    assert found == code, err
    assert words in err
    assert f"secret-{key}" not in out + err
    written = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(b"secret-" in content for content in written)


def test_a_settings_file_with_a_mistake_names_file_and_key(rddg, tmp_path):
    (tmp_path / "run.yaml").write_text("tables: [{path: in.csv, target: y}]\nmetods: [epic]\n")
    code, _, err = rddg("run", "run.yaml")
    assert code == 78
    assert "run.yaml" in err
    assert "metods" in err
    assert rddg("run", "nope.yaml")[0] == 78


def test_run_prints_the_table_and_report_writes_the_page_again(rddg, tmp_path):
    people(80, 16).to_csv("in.csv", index=False)
    (tmp_path / "run.yaml").write_text(
        "tables: [{path: in.csv, target: state}]\nmethods: [original, epic]\noutput: out\n"
        "generation: {rows_per_class: {ill: 10}}\n"
        "evaluation: {classifiers: [xgboost], classifier_states: [0]}\n"
    )
    code, out, err = rddg("run", "run.yaml", "--no-ray", "--output", "elsewhere [x]")
    assert code == 0, err
    assert "original" in out
    assert "epic" in out
    page = tmp_path / "elsewhere [x]" / "report" / "index.html"
    assert str(page) in out
    page.unlink()
    code, out, err = rddg("report", "elsewhere [x]")
    assert code == 0, err
    assert "epic" in page.read_text()
    assert rddg("report", "nowhere")[0] == 73


def test_preview_shows_prompts_and_calls_nothing(rddg, tmp_path):
    people().to_csv("in.csv", index=False)
    code, out, _ = rddg("preview", "in.csv", "-t", "state", "-n", "40", "--full")
    assert code == 0
    # 40 rows at 15 a prompt are 3 calls, and 2 before them.
    assert "Calls at least 5" in out
    assert all(phase in out for phase in ("relations", "constraints", "generation"))
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_preview_of_a_settings_file_tells_cost_time_and_the_cap_that_ends_it(rddg, tmp_path):
    people().to_csv("in.csv", index=False)
    settings = {
        "tables": [{"path": "in.csv", "target": "state", "test_share": 0.25}],
        "methods": ["original", "epic", "rddg"],
        "generation": {"rows_per_class": {"ill": 40, "well": 0}},
        "endpoint": {
            "kind": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m",
            "limits": {"requests_per_minute": 6},
            "budget": {"max_cost_usd": 1e-6, "prompt_usd_per_million": 1,
                       "completion_usd_per_million": 2},
        },
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    code, out, err = rddg("preview", "run.yaml", "--latency-s", "2")
    assert code == 0, err
    # 3 calls of epic, 5 of rddg; the last of eight starts after 70 s at six a minute.
    assert "Calls at least 8" in out
    assert "Time at least 1 min 12 s at 2 s a call (given)" in out
    assert "what it waits for: the limit of 6 requests a minute" in out
    assert "Chains 2 side by side; 1 would keep the limits busy" in out
    assert re.search(r"Cost about 0\.0\d+ USD", out)
    assert "endpoint.budget.max_cost_usd 1e-06 ends the run" in out
    assert rddg("preview", "run.yaml", "-n", "3")[::2] == (
        78, "rddg: --rows is for a table file; write it into the settings file\n",
    )  # fmt: skip
    assert rddg("preview", "in.csv")[0] == 78


@pytest.fixture
def locked(monkeypatch):
    monkeypatch.setenv("RDDG_TEST_KEY", "sk-planted-0123456789abcdef")
    with serve_in_thread(api_key="sk-planted-0123456789abcdef") as server:
        yield server


def test_doctor_exits_by_the_worst_that_it_finds(rddg, tmp_path, locked):
    options = ("--base-url", locked.base_url, "--model", "embedded-sampler")
    keyed = (*options, "--api-key-env", "RDDG_TEST_KEY")
    assert rddg("doctor", *keyed)[0] == 0
    assert rddg("doctor", *options)[0] == 77
    assert rddg("doctor", "--base-url", "http://127.0.0.1:9/v1", "--model", "m")[0] == 75
    assert rddg("doctor", *options, "--api-key-env", "RDDG_TEST_NEVER_SET")[0] == 78
    assert rddg("doctor", "nowhere.yaml")[0] == 78
    (tmp_path / "file").write_text("")
    assert rddg("doctor", "--output", "file/run")[0] == 73
    # Settings come before an endpoint that is away.
    assert rddg("doctor", "--base-url", "http://127.0.0.1:9/v1", "--model", "m",
                "--address", "127.0.0.1:9")[0] == 78  # fmt: skip
    assert locked.n_requests == 0


def test_doctor_prints_a_line_a_check_or_one_json_object(rddg, locked):
    options = ("--base-url", locked.base_url, "--model", "embedded-sampler",
               "--api-key-env", "RDDG_TEST_KEY", "--call")  # fmt: skip
    code, out, _ = rddg("doctor", *options)
    assert code == 0
    assert "from the environment variable RDDG_TEST_KEY" in out
    assert "sk-planted" not in out
    code, text, _ = rddg("doctor", *options, "--json")
    found = json.loads(text)
    assert (code, found["exit_code"]) == (0, 0)
    names = [check["name"] for check in found["checks"]]
    assert {"settings", "endpoint", "key", "model", "call", "limits", "budget", "commit", "ray",
            "python", "packages", "torch", "clock"} <= set(names)  # fmt: skip
    assert all(f" {name} " in out for name in names)
    assert "sk-planted" not in text
    assert locked.n_requests == 2


def test_evaluate_compares_files_of_any_tool(rddg):
    people(80, 16).to_csv("train.csv", index=False)
    people(60, 12, 5).to_csv("test.csv", index=False)
    people(40, 40, 6).to_csv("made.csv", index=False)
    command = ("evaluate", "--train", "train.csv", "--test", "test.csv", "--target", "state",
               "--classifier", "xgboost", "--classifier-states", "2")  # fmt: skip
    code, out, err = rddg(*command, "--synthetic", "tool=made.csv", "-o", "results")
    assert code == 0, err
    fits = pd.read_parquet("results/evaluation/fits")
    assert fits.groupby("method").size().to_dict() == {"original": 2, "tool": 2}
    assert "tool" in out
    assert rddg(*command, "--protocol", "mine")[0] == 78
    assert rddg(*command, "--synthetic", "nope.csv")[0] == 65


def test_the_journal_shows_sums_and_any_call_in_full(rddg):
    people().to_csv("in.csv", index=False)
    rddg("generate", "in.csv", "-t", "state", "-n", "20", "--run-dir", "run")
    code, out, _ = rddg("journal", "run")
    assert code == 0
    assert "generation" in out
    assert "possibly paid twice 0" in out
    code, out, _ = rddg("journal", "run", "--call", "in/rddg_calibrated/g0/0/2/0")
    assert code == 0
    assert "## Rules" in out
    assert "reply of embedded-sampler (stop)" in out
    assert rddg("retry-dead", "run")[1].startswith("0 calls")
    assert rddg("journal", "nowhere")[0] == 73


def test_datasets_lists_the_catalog(rddg):
    code, out, _ = rddg("datasets")
    assert code == 0
    assert "breast_cancer" in out
    assert "real_estate" in out


@pytest.fixture
def serving():
    """Return a process that runs `rddg endpoint` on a free port."""
    command = [*RDDG, "endpoint", "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_endpoint_serves_until_it_is_told_to_stop(serving, number):
    assert select.select([serving.stdout], [], [], 20)[0], "nothing was written in 20 s"
    words = serving.stdout.readline().split()
    url = next(word for word in words if word.startswith("http://127.0.0.1:"))
    with urllib.request.urlopen(f"{url}/models", timeout=10) as answer:
        assert json.load(answer)["data"][0]["id"] == "embedded-sampler"
    serving.send_signal(number)
    _, err = serving.communicate(timeout=20)
    assert (serving.returncode, err) == (0, "")


def test_a_stop_is_asked_for_before_it_is_told():
    stopped = []

    class Executor(LocalExecutor):
        """One that notes that it was asked to stop."""

        def drain(self):
            stopped.append(True)

    class Unheard(SilentProgress):
        """Standard error, with nobody who reads it."""

        def note(self, text):
            assert stopped
            raise BrokenPipeError

    drain(Executor(), FlightCounter(Unheard()))
    assert stopped


def test_help_imports_no_heavy_library_and_is_quick():
    script = (
        "import sys\nsys.argv = ['rddg', '--help']\nfrom rddg_ray.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print('code', end.code)\n"
        f"print('heavy', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    before = os.times()
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    after = os.times()
    assert "heavy []" in out
    assert "code 0" in out
    # CPU of the child, which other work on the machine does not change.
    used_s = sum(after[2:4]) - sum(before[2:4])
    assert used_s < 0.9
