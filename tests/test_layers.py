"""Section 3 of the design: who may import whom."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "rddg_ray"

# Every top-level module or subpackage, line by line: it imports only from lines above its own.
# The design's nine lines, some in steps where modules of one line build on one another.
LINES = (
    # 1
    ("errors",),
    # 2
    ("exchange", "study", "schema", "strict"),
    ("rules_file",),
    ("config", "metadata", "reply_length"),
    ("method_parts",),
    # 3
    ("texts", "output", "spelling"),
    ("inference",),
    ("rows",),
    ("table",),
    ("reading",),
    # 4
    ("datasets", "coreset", "relations", "constraints", "batches", "novelty"),
    ("measuring",),
    ("quality", "near_copies", "plausibility"),
    # 5
    ("codes",),
    ("cell_text",),
    ("reply_lines", "json_reply", "reply_schema"),
    ("prompts", "parsing"),
    ("rule_replies",),
    ("feedback",),
    # 6
    ("calibration",),
    ("chain_state", "table_models"),
    ("sifting", "chain_rules"),
    ("round_feedback", "shown_rows"),
    ("row_rounds",),
    ("synthesis",),
    ("evaluation",),
    # 7
    ("llm",),
    # 8
    ("runtime",),
    # 9
    ("sampler", "printing"),
    ("showing", "showing_ahead", "showing_rules", "showing_compared"),
    ("", "cli"),
    ("__main__",),
)
LINE_OF = {unit: line for line, units in enumerate(LINES) for unit in units}

# Third-party packages that one place alone may import.
SEAMS = {
    "torch": {"coreset"},
    "openai": {"llm"},
    "tenacity": {"llm"},
    "ray": {"runtime", "jobs"},
    "xgboost": {"evaluation"},
    "lightgbm": {"evaluation"},
    "catboost": {"evaluation"},
    "imblearn": {"evaluation"},
}
HEAVY = (
    "torch", "ray", "sklearn", "xgboost", "lightgbm", "catboost", "imblearn", "matplotlib",
    "openai", "scipy",
)  # fmt: skip


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    _name(path): path
    for folder in (PACKAGE, "jobs")
    for path in sorted((ROOT / folder).rglob("*.py"))
}


def _unit(module: str) -> str:
    """Return the top-level module or subpackage; empty for the package itself."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == PACKAGE else package


def _imports(module: str) -> set[str]:
    """Return the modules that a module names in an import, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = inner & SOURCES.keys()
            names |= modules
            if modules != inner:
                names.add(str(node.module))
    return names


IMPORTS = {module: _imports(module) for module in SOURCES}
OWN = [module for module in SOURCES if module.startswith(PACKAGE)]


@pytest.mark.parametrize("module", OWN)
def test_a_module_has_a_line(module: str) -> None:
    assert _unit(module) in LINE_OF, f"{module} is on no line: place it in LINES and the design"


@pytest.mark.parametrize("module", OWN)
def test_a_module_imports_only_from_lines_above_its_own(module: str) -> None:
    own = _unit(module)
    others = {_unit(name) for name in IMPORTS[module] if name.partition(".")[0] == PACKAGE}
    # A module without a line fails the test above, and passes here.
    lines = {other: LINE_OF.get(other, -1) for other in others - {own}}
    below = {other for other, line in lines.items() if line >= LINE_OF.get(own, len(LINES))}
    assert not below, f"{module} imports {sorted(below)}"


@pytest.mark.parametrize("module", SOURCES)
def test_a_third_party_seam_stays_in_its_place(module: str) -> None:
    roots = {name.partition(".")[0] for name in IMPORTS[module]}
    out_of_place = {root for root in roots & SEAMS.keys() if _unit(module) not in SEAMS[root]}
    assert not out_of_place, f"{module} imports {sorted(out_of_place)}"


def test_no_import_closes_a_cycle() -> None:
    graph = {module: names & SOURCES.keys() for module, names in IMPORTS.items()}
    TopologicalSorter(graph).prepare()


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not {module.rpartition(".")[2] for module in SOURCES} & {"utils", "helpers", "common"}


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [(PACKAGE, HEAVY), (f"{PACKAGE}.table", HEAVY), (f"{PACKAGE}.cli", (*HEAVY, "pandas"))],
)
def test_importing_a_module_loads_no_heavy_library(module: str, forbidden: tuple[str, ...]) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} does not exist yet")
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert not set(loaded) & set(forbidden)
