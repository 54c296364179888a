"""Consumer Behavior: what a customer buys, from who the customer is."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rddg_ray.datasets.generators.classes import class_counts, classes_by_rank
from rddg_ray.datasets.generators.draws import normal_within, to_whole
from rddg_ray.datasets.generators.relation import Relation, exact, mostly, ordered_means, trend
from rddg_ray.datasets.randomness import generator

TARGET = "product_category"
CLASSES = {"Food": 482, "Home": 518}
"""Class to its rows of 1,000, from the lowest score to the highest."""

EDUCATION = ("high school", "bachelor", "master", "doctorate")
EDUCATION_MIN_AGE = (18, 21, 23, 27)
"""Youngest age, in years, at which a level is held."""
EDUCATION_SHARE = (0.38, 0.38, 0.17, 0.07)
BASE_INCOME = {"high school": 24_000, "bachelor": 36_000, "master": 47_000, "doctorate": 60_000}
"""Yearly income at age 18 in a suburb, in currency units."""
INCOME_PER_YEAR = 600
"""Added for every year of age from 18 to 58, in currency units."""
LOCATION_FACTOR = {"urban": 1.10, "suburban": 1.00, "rural": 0.85}
LOCATION_SHARE = (0.50, 0.30, 0.20)
MARITAL = ("single", "married", "divorced", "widowed")
WIDOWED_MIN_AGE = 50
MAX_CHILDREN = 5
NOISE_SD = 1.10
"""Spread of what the attributes do not say about the purchase; sets the difficulty."""

DESCRIPTIONS = {
    "age": "Age of the customer in years, 18 to 80",
    "gender": "Gender of the customer",
    "income": "Yearly income in currency units, rounded to 100",
    "spending_score": "Eagerness to spend, 1 (least) to 100 (most)",
    "education_level": "Highest education completed",
    "marital_status": "Marital status",
    "children": "Number of children, 0 to 5",
    "location": "Kind of place the customer lives in",
    TARGET: "Category of the product the customer buys most: Food or Home",
}


def expected_income(age: pd.Series, education: pd.Series, location: pd.Series) -> pd.Series:
    """Return the middle of the income distribution, in currency units a year."""
    years = np.minimum(age - 18, 40)
    base = education.map(BASE_INCOME) + INCOME_PER_YEAR * years
    return base * location.map(LOCATION_FACTOR)


def expected_spending(age: pd.Series, income: pd.Series) -> pd.Series:
    """Return the middle of the spending score before it is cut to 1..100."""
    return 50 + 0.5 * (income - 50_000) / 1_000 - 0.6 * (age - 42)


def _old_enough(frame: pd.DataFrame) -> pd.Series:
    youngest = dict(zip(EDUCATION, EDUCATION_MIN_AGE, strict=True))
    return frame["age"] >= frame["education_level"].map(youngest)


def _near_expected_income(frame: pd.DataFrame) -> pd.Series:
    middle = expected_income(frame["age"], frame["education_level"], frame["location"])
    return (np.log(frame["income"] / middle)).abs() <= 0.45


def _near_expected_spending(frame: pd.DataFrame) -> pd.Series:
    middle = expected_spending(frame["age"], frame["income"]).clip(1, 100)
    return (frame["spending_score"] - middle).abs() <= 30


RELATIONS: tuple[Relation, ...] = (
    exact(
        ("age", "education_level"),
        "A bachelor is at least 21 years old, a master 23, a doctorate 27.",
        _old_enough,
    ),
    exact(
        ("age", "marital_status"),
        "Nobody under 50 is widowed.",
        lambda frame: (frame["marital_status"] != "widowed") | (frame["age"] >= WIDOWED_MIN_AGE),
    ),
    mostly(
        ("age", "education_level", "location", "income"),
        "Income = (base income of the education + 600 a year of age from 18 to 58) x factor of "
        "the location, within a factor of exp(0.45) (3 standard deviations).",
        _near_expected_income,
        0.99,
    ),
    mostly(
        ("age", "income", "spending_score"),
        "Spending score = 50 + 0.5 x (income - 50,000) / 1,000 - 0.6 x (age - 42), cut to "
        "1..100, within 30 points (3 standard deviations).",
        _near_expected_spending,
        0.99,
    ),
    ordered_means("education_level", EDUCATION, "income", "Income rises with education.", 3_000.0),
    trend("age", "income", "Income rises with age.", 0.15, 0.75),
    trend("age", "spending_score", "The spending score falls with age.", -0.65, -0.05),
    ordered_means(
        "marital_status", ("single", "married"), "children", "The married have more children.", 0.5
    ),
    ordered_means("marital_status", ("single", "married"), "age", "The married are older.", 5.0),
    ordered_means(
        TARGET, ("Food", "Home"), "income", "Buyers of Home products earn more.", 3_000.0
    ),
)
"""The relations of this data set; each can be checked on the rows alone."""


def consumer_behavior(n_rows: int = 1000, random_state: int = 0) -> pd.DataFrame:
    """Generate the Consumer Behavior data set.

    Age is normal (mean 42, standard deviation 14 years, drawn again outside 18..80). Education
    is drawn from fixed shares and lowered to what the age allows. Marital status depends on
    age, children on marital status and age (Poisson, at most 5). Income and spending score
    follow `expected_income` (log-normal factor, standard deviation 0.15) and
    `expected_spending` (normal, standard deviation 10), as `RELATIONS` states.

    The class is cut from a score of income, children, marriage, age and spending plus normal
    noise: households with more money, people and years buy Home, eager spenders Food. At
    1,000 rows the counts are the paper's, {Home 518, Food 482}; otherwise in proportion.

    Args:
        n_rows: Rows to generate; enough for 2 of the rarest class.
        random_state: Seed of all draws; the same value gives the same frame.

    Returns:
        Frame of 8 attributes and the target, in the order of `DESCRIPTIONS`.

    Raises:
        ConfigError: If `n_rows` leaves a class with fewer than 2 rows, or `random_state` is not
            a whole number, 0 or greater.

    References:
        The paper, appendix A.4, tables 9 and 10.
    """
    counts = class_counts(CLASSES, n_rows)
    rng = generator(random_state)
    frame = _attributes(rng, n_rows)
    noise = rng.normal(0.0, NOISE_SD, n_rows)
    frame[TARGET] = classes_by_rank(_home_score(frame) + noise, counts)
    return frame[list(DESCRIPTIONS)]


def _attributes(rng: np.random.Generator, n_rows: int) -> pd.DataFrame:
    age = to_whole(normal_within(rng, 42, 14, (18, 80), n_rows))
    allowed = np.searchsorted(EDUCATION_MIN_AGE, age, side="right") - 1
    level = np.minimum(rng.choice(len(EDUCATION), n_rows, p=EDUCATION_SHARE), allowed)
    marital = _marital_status(rng, age)
    frame = pd.DataFrame(
        {
            "age": age,
            "gender": rng.choice(["female", "male"], n_rows),
            "education_level": np.array(EDUCATION)[level],
            "marital_status": marital,
            "children": _children(rng, age, marital),
            "location": rng.choice(list(LOCATION_FACTOR), n_rows, p=LOCATION_SHARE),
        }
    )
    middle = expected_income(frame["age"], frame["education_level"], frame["location"])
    income = middle * np.exp(rng.normal(0.0, 0.15, n_rows))
    frame["income"] = (income / 100).round().astype(np.int64) * 100
    spending = expected_spending(frame["age"], frame["income"]) + rng.normal(0.0, 10.0, n_rows)
    frame["spending_score"] = spending.clip(1, 100).round().astype(np.int64)
    return frame


def _marital_status(rng: np.random.Generator, age: NDArray[np.int64]) -> NDArray[np.str_]:
    """Draw the status: single falls from age 20 to 45, widowed starts at 50."""
    single = np.clip((45 - age) / 25, 0.10, 0.95)
    widowed = np.where(age >= WIDOWED_MIN_AGE, (age - WIDOWED_MIN_AGE) / 120, 0.0)
    divorced = 0.18 * (1 - single - widowed)
    bounds = np.cumsum([single, 1 - single - divorced - widowed, divorced], axis=0)
    chosen = (rng.random(len(age)) >= bounds).sum(axis=0)
    status: NDArray[np.str_] = np.array(MARITAL)[chosen]
    return status


def _children(
    rng: np.random.Generator, age: NDArray[np.int64], marital: NDArray[np.str_]
) -> NDArray[np.int64]:
    mean = np.where(marital == "single", 0.15, 1.9 * np.minimum((age - 18) / 15, 1.0))
    return np.minimum(rng.poisson(mean), MAX_CHILDREN)


def _home_score(frame: pd.DataFrame) -> NDArray[np.float64]:
    score = (
        0.05 * (frame["income"] / 1_000 - 50)
        + 0.35 * frame["children"]
        + 0.8 * (frame["marital_status"] == "married")
        + 0.02 * (frame["age"] - 42)
        - 0.02 * (frame["spending_score"] - 50)
    )
    return np.array(score, dtype=np.float64)
