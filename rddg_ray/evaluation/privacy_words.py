"""What privacy figures mean, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rddg_ray.evaluation.readings import ALL

_GUESSING = 0.5
_FAIR_AUC = 0.6
_WEAK_TEST = 0.55
# A method may repeat a real row now and then by chance, as new real rows do.
_MORE_COPIES = 0.01

NO_PROOF = (
    "Finding nothing here is no proof that nothing leaks: these are the tests of an attacker who "
    "has the synthetic rows and nothing else."
)


def said_of_privacy(figures: pd.DataFrame, method: str, *, scope: str = ALL) -> list[str]:
    """Return what the figures of one table say of one method.

    Args:
        figures: Rows of `privacy.privacy_figures`.
        method: Whose; figures of several generator states are averaged, and the widest interval
            of them is taken.
        scope: `all` or `rare`.

    Returns:
        Sentences on copies, on whom rows lie closer to, and on the attack, as far as there are
        figures, and the reservation that goes with them; none where there are no figures.
    """
    mine = figures[(figures["method"] == method) & (figures["scope"] == scope)]
    numbers = ("value", "low", "high", "ceiling", "floor")
    known: dict[str, dict[str, float]] = {}
    for metric, rows in mine.groupby("metric", sort=False):
        cells = rows[list(numbers)].astype("float64")
        known[str(metric)] = {
            **cells.mean().to_dict(), "low": cells["low"].min(), "high": cells["high"].max()
        }  # fmt: skip
    said = []
    if "copy_share" in known and "near_copy_share" in known:
        said.append(_of_copies(method, known["copy_share"], known["near_copy_share"]))
    if "prompt_copy_share" in known:
        said.append(_of_prompts(method, known["prompt_copy_share"]))
    if "dcr_share" in known:
        said.append(_of_share(method, known["dcr_share"]))
    if "attack_auc" in known and "attack_tpr" in known:
        said.append(_of_attack(known["attack_auc"], known["attack_tpr"]))
    return [*said, NO_PROOF] if said else []


def _of_copies(method: str, exact: Mapping[str, float], near: Mapping[str, float]) -> str:
    text = (
        f"{_percent(exact['value'])} of the rows of {method} are training rows again and "
        f"{_percent(near['value'])} are that or nearly so; of the held-out real rows "
        f"{_percent(exact['ceiling'])} and {_percent(near['ceiling'])} are"
    )
    if near["value"] > near["ceiling"] + _MORE_COPIES:
        return f"{text}. So it repeats real people more often than chance would."
    return f"{text}, so it repeats people no more often than chance would."


def _of_prompts(method: str, shown: Mapping[str, float]) -> str:
    return (
        f"{_percent(shown['value'])} of the rows of {method} are copies, or nearly, of rows that "
        f"its prompts showed; of the held-out real rows {_percent(shown['ceiling'])} are."
    )


def _of_share(method: str, share: Mapping[str, float]) -> str:
    text = (
        f"Held between equally many training and held-out rows, {_percent(share['value'])} "
        f"[{_percent(share['low'])}, {_percent(share['high'])}] of the rows of {method} lie "
        "closer to a training row (half is fair; plain copies would reach "
        f"{_percent(share['floor'])}): "
    )
    if share["low"] > _GUESSING:
        return f"{text}they lean on the training rows beyond what the population explains."
    if share["floor"] < _WEAK_TEST:
        return f"{text}on this table the test could not even tell plain copies, so it says nothing."
    if share["high"] < _GUESSING:
        return f"{text}they keep away from the training rows."
    return f"{text}this alone does not show that they lean on the training rows."


def _of_attack(auc: Mapping[str, float], found: Mapping[str, float]) -> str:
    text = (
        "Someone who guesses from the synthetic rows who was among the training rows is right "
        f"with an AUC of {auc['value']:.2f} [{auc['low']:.2f}, {auc['high']:.2f}] (0.5 is "
        f"guessing, plain copies give {auc['floor']:.2f}) and finds {_percent(found['value'])} of "
        f"them where few are wrongly accused (new real rows would give away "
        f"{_percent(found['ceiling'])}): "
    )
    if auc["low"] > _GUESSING:
        strength = "clearly" if auc["value"] >= _FAIR_AUC else "a little"
        return f"{text}the rows do give members away, {strength}."
    if auc["floor"] < _WEAK_TEST:
        return f"{text}on this table even plain copies stay hidden from it, so it says nothing."
    return f"{text}no better than guessing."


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
