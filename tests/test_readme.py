"""Every block of the README runs; what differs from what a reader types is listed here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rddg_ray.config import EmbeddedSettings, settings_from
from rddg_ray.llm.embedded import serve_in_thread

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
MAKE = ("make demo\n", "make test\n")


def of_language(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    scripts = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "MY_KEY": "not-a-real-key",
    }


def run(script: str, folder: Path, environment: dict[str, str]) -> str:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    done = subprocess.run(
        [bash, "-eu", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_readme_has_no_block_in_a_language_that_no_test_runs() -> None:
    assert {name for name, _ in BLOCKS} == {"bash", "python", "yaml"}


def test_make_demo_and_make_test_are_the_commands_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for block in MAKE:
        assert block in of_language("bash")
        target = block.split()[1]
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert "rddg run jobs/configs/demo.yaml" in makefile


@pytest.mark.slow
@pytest.mark.ray
def test_every_shell_block_runs_in_the_order_of_the_page(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    blocks = [block for block in of_language("bash") if block not in MAKE]
    # The grid of 20 fits a method is what the reader wants and a test can do without.
    small = "evaluation: {classifiers: [lightgbm], classifier_states: [0]}\nEND\nrddg run"
    settings = EmbeddedSettings()
    with serve_in_thread(settings) as server:
        for block in blocks:
            script = block.replace("END\nrddg run", small)
            script = script.replace(
                "ENDPOINT=http://localhost:8000/v1", f"ENDPOINT={server.base_url}"
            )
            script = script.replace("MODEL=my-model", "MODEL=embedded-sampler")
            if "rddg evaluate" in script:
                prepare_split(tmp_path, environment)
                script = script.rstrip() + " --classifier lightgbm --classifier-states 1"
            run(script, tmp_path, environment)
        assert server.n_requests > 0
    assert (tmp_path / "new-houses.csv").read_text("utf-8").count("\n") == 101
    assert (tmp_path / "runs/houses-compared/report/index.html").is_file()


def prepare_split(folder: Path, environment: dict[str, str]) -> None:
    lines = (folder / "houses.csv").read_text("utf-8").splitlines(keepends=True)
    (folder / "train.csv").write_text("".join(lines[:801]), "utf-8")
    (folder / "test.csv").write_text("".join(lines[:1] + lines[801:]), "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("block", of_language("python"))
def test_python_block_runs(block: str, tmp_path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("block", of_language("yaml"))
def test_settings_block_is_read(block: str) -> None:
    content = yaml.safe_load(block)
    settings = settings_from({"tables": [{"dataset": "iris"}], **content})
    assert settings.endpoint.kind == "openai"


def test_every_file_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []
