"""Real Estate: whether a home lies in a school district, from seven properties."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rddg_ray.datasets.generators.classes import class_counts, classes_by_rank
from rddg_ray.datasets.generators.draws import normal_within, to_whole
from rddg_ray.datasets.generators.relation import Relation, exact, ordered_means, trend
from rddg_ray.datasets.randomness import generator

TARGET = "school_district"
CLASSES = {"no": 788, "yes": 212}
"""Class to its rows of 1,000, from the lowest score to the highest."""

BASIC_PRICE = {"rural": 3_000, "suburb": 5_000, "city": 8_000, "downtown": 12_000}
"""Basic price per square metre by location, in currency units."""
LOCATION_SHARE = (0.15, 0.35, 0.30, 0.20)
RENOVATION_FACTOR = {"none": 0.9, "basic": 1.0, "refined": 1.15, "luxury": 1.35}
"""What the basic price is multiplied by, by renovation level."""
RENOVATION_SHARE = (0.25, 0.40, 0.25, 0.10)
AGE_DISCOUNT = 30
"""Taken off per square metre and year of age, in currency units."""
PRICE_STEP = 100
"""Prices are rounded to the nearest multiple of this."""
AREA_M2 = {"studio": (20, 45), "apartment": (46, 120), "duplex": (90, 180), "villa": (150, 320)}
"""Smallest and largest area by type of house."""
HOUSE_TYPES = {
    "rural": (0.02, 0.25, 0.23, 0.50),
    "suburb": (0.08, 0.50, 0.22, 0.20),
    "city": (0.18, 0.66, 0.12, 0.04),
    "downtown": (0.30, 0.62, 0.08, 0.00),
}
"""Shares of the types of house, in the order of `AREA_M2`, by location."""
TRAFFIC_MEAN = {"rural": 3.0, "suburb": 5.0, "city": 6.8, "downtown": 8.3}
"""Mean of the traffic convenience by location, standard deviation 1.3, within 1..10."""
NOISE_SD = 0.50
"""Spread of what the attributes do not say about the district; sets the difficulty."""

DESCRIPTIONS = {
    "area": "Living area in square metres",
    "location": "Location of the home: rural, suburb, city or downtown",
    "age": "Age of the building in years, 0 to 50",
    "renovation_level": "State of renovation: none, basic, refined or luxury",
    "price": "Price in currency units, rounded to 100",
    "house_type": "Type of house: studio, apartment, duplex or villa",
    "traffic_convenience": "Convenience of public transport, 1 (worst) to 10 (best)",
    TARGET: "Whether the home lies in a school district: yes or no",
}


def expected_price(frame: pd.DataFrame) -> pd.Series:
    """Return basic price x area x renovation level - age discount, before rounding.

    Args:
        frame: Rows with location, area, renovation_level and age.

    Returns:
        Price in currency units; the age discount is `AGE_DISCOUNT` x area x age.
    """
    basic = frame["location"].map(BASIC_PRICE)
    renovated = basic * frame["area"] * frame["renovation_level"].map(RENOVATION_FACTOR)
    return renovated - AGE_DISCOUNT * frame["area"] * frame["age"]


def _area_fits_type(frame: pd.DataFrame) -> pd.Series:
    smallest = frame["house_type"].map({name: low for name, (low, _) in AREA_M2.items()})
    largest = frame["house_type"].map({name: high for name, (_, high) in AREA_M2.items()})
    return (frame["area"] >= smallest) & (frame["area"] <= largest)


RELATIONS: tuple[Relation, ...] = (
    exact(
        ("price", "location", "area", "renovation_level", "age"),
        "Price = basic price per square metre of the location x area x renovation level - age "
        "discount (30 per square metre and year), rounded to 100.",
        lambda frame: (frame["price"] - expected_price(frame)).abs() <= PRICE_STEP / 2 + 1e-6,
    ),
    exact(
        ("area", "house_type"),
        "A studio has 20 to 45 square metres, an apartment 46 to 120, a duplex 90 to 180, a "
        "villa 150 to 320.",
        _area_fits_type,
    ),
    exact(
        ("location", "house_type"),
        "There is no villa downtown.",
        lambda frame: (frame["location"] != "downtown") | (frame["house_type"] != "villa"),
    ),
    ordered_means(
        "location",
        tuple(TRAFFIC_MEAN),
        "traffic_convenience",
        "Traffic convenience rises towards the centre.",
        0.6,
    ),
    trend("area", "price", "Price rises with area.", 0.25, 0.90),
    ordered_means(
        TARGET,
        tuple(CLASSES),
        "traffic_convenience",
        "Homes in a school district have more convenient traffic.",
        1.0,
    ),
)
"""The relations of this data set; each can be checked on the rows alone."""


def real_estate(n_rows: int = 1000, random_state: int = 0) -> pd.DataFrame:
    """Generate the Real Estate data set.

    Location and renovation level are drawn from fixed shares, the type of house by location
    (`HOUSE_TYPES`), the area uniformly within the type's bounds (`AREA_M2`), the age of the
    building uniformly over 0..50 years, traffic convenience by location (`TRAFFIC_MEAN`). The
    price follows `expected_price`, the paper's formula, rounded to 100.

    The class is cut from a score plus normal noise: convenient traffic, a location towards the
    centre, an apartment rather than a villa, and a new building speak for a school district.
    At 1,000 rows the counts are the paper's, {no 788, yes 212}; otherwise in proportion.

    Args:
        n_rows: Rows to generate; enough for 2 of the rarest class.
        random_state: Seed of all draws; the same value gives the same frame.

    Returns:
        Frame of 7 attributes and the target, in the order of `DESCRIPTIONS`.

    Raises:
        ConfigError: If `n_rows` leaves a class with fewer than 2 rows, or `random_state` is not
            a whole number, 0 or greater.

    References:
        The paper, appendix A.4, tables 9 and 10.
    """
    counts = class_counts(CLASSES, n_rows)
    rng = generator(random_state)
    frame = _attributes(rng, n_rows)
    frame["price"] = to_whole((expected_price(frame) / PRICE_STEP).to_numpy()) * PRICE_STEP
    noise = rng.normal(0.0, NOISE_SD, n_rows)
    frame[TARGET] = classes_by_rank(_district_score(frame) + noise, counts)
    return frame[list(DESCRIPTIONS)]


def _attributes(rng: np.random.Generator, n_rows: int) -> pd.DataFrame:
    location = rng.choice(list(BASIC_PRICE), n_rows, p=LOCATION_SHARE)
    house_type = _house_type(rng, location)
    smallest, largest = np.array([AREA_M2[value] for value in house_type]).T
    traffic_mean = np.array([TRAFFIC_MEAN[value] for value in location])
    return pd.DataFrame(
        {
            "area": rng.integers(smallest, largest, endpoint=True),
            "location": location,
            "age": rng.integers(0, 50, n_rows, endpoint=True),
            "renovation_level": rng.choice(list(RENOVATION_FACTOR), n_rows, p=RENOVATION_SHARE),
            "house_type": house_type,
            "traffic_convenience": to_whole(
                normal_within(rng, traffic_mean, 1.3, (1.0, 10.0), n_rows)
            ),
        }
    )


def _house_type(rng: np.random.Generator, location: NDArray[np.str_]) -> NDArray[np.str_]:
    bounds = np.cumsum([HOUSE_TYPES[value] for value in location], axis=1)
    # The last bound may be a hair under 1 by rounding; only the inner bounds decide.
    chosen = (rng.random(len(location))[:, None] >= bounds[:, :-1]).sum(axis=1)
    types: NDArray[np.str_] = np.array(list(AREA_M2))[chosen]
    return types


def _district_score(frame: pd.DataFrame) -> NDArray[np.float64]:
    centre = frame["location"].map({"rural": -1.0, "suburb": 0.0, "city": 0.8, "downtown": 0.5})
    house = frame["house_type"].map(
        {"studio": -0.8, "apartment": 0.6, "duplex": 0.3, "villa": -0.5}
    )
    score = 0.5 * (frame["traffic_convenience"] - 6) + centre + house - 0.03 * (frame["age"] - 25)
    return np.array(score, dtype=np.float64)
