from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("xgboost", "lightgbm", "catboost", "sklearn", "imblearn", "matplotlib", "scipy", "jinja2",
         "torch", "ray", "openai")  # fmt: skip


@pytest.mark.parametrize("module", ["files", "summary", "fidelity", "report.page"])
def test_heavy_libraries_are_imported_only_when_used(module: str) -> None:
    code = (
        f"import sys, rddg_ray.evaluation.{module}; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
