"""Rules of a run as a person, or a program, reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from rddg_ray.printing import open_console
from rddg_ray.runtime.rule_records import RuleLine, TableRules


def rules_json(found: Sequence[TableRules], *, dropped_only: bool = False) -> str:
    """Return rules as a JSON list, one object a rule of a table and method."""
    entries = [
        {
            "table": rules.dataset,
            "method": rules.method,
            "state": line.state,
            "rule": line.rule,
            "figure": line.figure,
            "source": line.source,
            "n_chains": len(line.chains),
            "chains": list(line.chains),
            "verdict": line.verdict,
        }
        for rules in found
        for line in _wanted(rules, dropped_only)
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False)


def show_rules(
    found: Sequence[TableRules], *, dropped_only: bool = False, has_prose: bool = False
) -> None:
    """Print the rules of tables' chains with what the real rows say of each.

    Args:
        found: Rules by table and method.
        dropped_only: Whether rules that rows are held to are left out.
        has_prose: Whether the model's own words follow, chain by chain.
    """
    console = open_console()
    for rules in found:
        _print_table(console, rules, _wanted(rules, dropped_only))
        for chain, text in rules.texts.items() if has_prose else ():
            console.print(f"\nIn the words of the model, chain {chain}:", markup=False)
            console.print(text or "nothing", markup=False, soft_wrap=True)


def _wanted(rules: TableRules, dropped_only: bool) -> list[RuleLine]:
    return [line for line in rules.lines if not (dropped_only and line.state == "kept")]


def _print_table(console: Console, rules: TableRules, lines: Sequence[RuleLine]) -> None:
    counts = {state: sum(line.state == state for line in rules.lines)
              for state in ("kept", "dropped", "not read")}  # fmt: skip
    chains = "1 chain" if rules.n_chains == 1 else f"{rules.n_chains} chains"
    title = f"Rules for {rules.dataset} by {rules.method}, {chains}: " + ", ".join(
        f"{count} {state}" for state, count in counts.items()
    )
    if not lines:
        console.print(title, markup=False, soft_wrap=True)
        return
    grid = Grid(title=escape(title), title_justify="left")
    for heading in ("", "rule", "by", "chains", "on the real rows"):
        grid.add_column(
            heading, overflow="fold", justify="right" if heading == "chains" else "left"
        )
    for line in lines:
        grid.add_row(line.state, escape(line.rule), line.source, str(len(line.chains)),
                     escape(line.figure))  # fmt: skip
    console.print(grid)
