"""Where the key comes from, and that it goes nowhere else."""

from __future__ import annotations

import pytest

from rddg_ray.config import EndpointSettings
from rddg_ray.errors import ConfigError
from rddg_ray.llm import OpenAIEndpoint, resolve_key
from rddg_ray.llm.keys import scrubbed


def test_settings_without_a_source_mean_no_key():
    assert resolve_key(EndpointSettings()) is None


def test_a_key_comes_from_the_variable_named(monkeypatch):
    monkeypatch.setenv("MY_ENDPOINT_KEY", " abc123\n")
    assert resolve_key(EndpointSettings(api_key_env="MY_ENDPOINT_KEY")) == "abc123"


def test_a_key_comes_from_the_file_named(tmp_path):
    path = tmp_path / "key"
    path.write_text("abc123\n")
    assert resolve_key(EndpointSettings(api_key_file=path)) == "abc123"


def test_a_missing_or_empty_variable_is_named(monkeypatch):
    monkeypatch.delenv("MY_ENDPOINT_KEY", raising=False)
    settings = EndpointSettings(api_key_env="MY_ENDPOINT_KEY")
    with pytest.raises(ConfigError, match=r"api_key_env.*'MY_ENDPOINT_KEY' is not set"):
        resolve_key(settings)
    monkeypatch.setenv("MY_ENDPOINT_KEY", "  ")
    with pytest.raises(ConfigError, match=r"'MY_ENDPOINT_KEY' is empty"):
        resolve_key(settings)


def test_a_missing_or_empty_file_is_named(tmp_path):
    path = tmp_path / "key"
    with pytest.raises(ConfigError, match=r"api_key_file.*cannot be read"):
        resolve_key(EndpointSettings(api_key_file=path))
    path.write_text("")
    with pytest.raises(ConfigError, match=r"key' is empty"):
        resolve_key(EndpointSettings(api_key_file=path))


@pytest.mark.parametrize(
    "content", [b"two words", b"two\nlines", "schlüssel".encode(), b"\xff\xfe"]
)
def test_what_cannot_be_a_key_is_refused_without_being_shown(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        resolve_key(EndpointSettings(api_key_file=path))
    assert "two" not in str(caught.value)
    assert "sch" not in str(caught.value)


def test_a_key_with_a_line_break_never_reaches_the_client():
    with pytest.raises(ConfigError) as caught:
        OpenAIEndpoint("http://127.0.0.1:9/v1", "m", "abc\ndef")
    assert "abc" not in str(caught.value)


def test_key_like_words_are_removed_even_if_they_are_another_key():
    text = scrubbed("use sk-proj-0123456789abcdef or 'Bearer abc.def'", None)
    assert "0123" not in text
    assert "abc" not in text
