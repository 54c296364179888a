"""Whose server an endpoint is."""

from __future__ import annotations

import pytest

from rddg_ray.config import EndpointSettings
from rddg_ray.llm.addresses import is_self_hosted


def at(base_url: str) -> EndpointSettings:
    return EndpointSettings(kind="openai", base_url=base_url, model="m")


@pytest.mark.parametrize(
    "base_url",
    [
        "http://localhost:8000/v1",
        "http://127.0.0.1/v1",
        "http://[::1]:8000/v1",
        "http://192.168.4.2/v1",
        "http://[fd00::7]/v1",
        "http://vllm:8000/v1",
        "http://vllm.models.svc.cluster.local./v1",
        "http://host.docker.internal:11434/v1",
    ],
)
def test_servers_in_a_network_of_ones_own_are_told_by_their_address(base_url):
    assert is_self_hosted(at(base_url))


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.openai.com/v1",
        "https://localhost.example.com/v1",
        "https://notlocalhost.com/v1",
        "https://8.8.8.8/v1",
        "https://[2606:4700::1111]/v1",
    ],
)
def test_public_addresses_are_taken_for_anothers(base_url):
    assert not is_self_hosted(at(base_url))


def test_the_embedded_endpoint_and_recordings_are_ones_own(tmp_path):
    assert is_self_hosted(EndpointSettings())
    assert is_self_hosted(EndpointSettings(kind="replay", replay_path=tmp_path / "calls.jsonl"))
