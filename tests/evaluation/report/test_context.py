from __future__ import annotations

import pytest

from rddg_ray.evaluation.report.context import flat_settings, headline, host_of


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://user:sk-secret@api.example.org:8443/v1?key=sk-secret", "api.example.org:8443"),
        ("http://127.0.0.1:8000/v1", "127.0.0.1:8000"),
        ("api.example.org?key=sk-secret", "api.example.org"),
        ("", ""),
    ],
)
def test_an_endpoint_is_shown_without_its_key(endpoint: str, host: str) -> None:
    assert host_of(endpoint) == host


def test_settings_are_flat_texts_without_anything_that_could_be_a_key() -> None:
    settings = {
        "endpoint": {
            "base_url": "https://me:sk-secret@host/v1?x=sk-secret",
            "api_key_file": "keys/sk-secret",
            "max_completion_tokens": 400,
        },
        "tables": [{"target": "y"}, {"target": "z"}],
        "states": [0, 1],
        "none": None,
    }
    found = dict(flat_settings(settings))
    assert found["endpoint.base_url"] == "host"
    assert found["endpoint.max_completion_tokens"] == "400"
    assert found["tables[1].target"] == "z"
    assert (found["states"], found["none"]) == ("0, 1", "none")
    assert "sk-secret" not in str(found)


def test_the_report_speaks_first_of_rddg_then_of_other_generated_rows() -> None:
    assert headline(["original", "epic", "rddg"]) == "rddg"
    assert headline(["original", "smotenc", "mine", "epic"]) == "epic"
    assert headline(["original", "mine"]) == "mine"
    assert headline(["original", "smotenc"]) is None
