"""Loading by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rddg_ray.datasets import info, load, names
from rddg_ray.datasets.bundled import column_name
from rddg_ray.errors import ConfigError, DataError

IN_MEMORY = [entry for entry in names() if entry.kind != "file"]


def test_every_set_of_the_paper_is_listed_once() -> None:
    listed = [entry.name for entry in names()]
    assert len(set(listed)) == len(listed)
    assert set(listed) == {
        *("consumer_behavior", "health_metrics", "real_estate", "social_network"),
        *("breast_cancer", "wine", "iris", "digits"),
        *("sick", "thyroid", "travel", "heloc", "segmentation", "credit_g"),
    }


@pytest.mark.parametrize("entry", IN_MEMORY, ids=lambda entry: entry.name)
def test_a_loaded_set_is_what_its_entry_says(entry) -> None:
    dataset = load(entry.name)
    labels = dataset.frame[dataset.target]
    assert dataset.target == entry.target
    assert len(dataset.frame) == entry.rows
    assert labels.value_counts().to_dict() == entry.classes
    assert set(dataset.descriptions) == set(dataset.frame.columns)
    assert pd.api.types.is_string_dtype(labels)
    assert dataset.split is None


def test_bundled_columns_have_readable_names_and_whole_numbers() -> None:
    assert "mean_concave_points" in load("breast_cancer").frame.columns
    assert "sepal_length_cm" in load("iris").frame.columns
    wine = load("wine").frame
    assert "od280_od315_of_diluted_wines" in wine.columns
    assert pd.api.types.is_integer_dtype(wine["proline"])
    assert pd.api.types.is_integer_dtype(load("digits").frame["pixel_7_7"])
    assert column_name("sepal width (cm)") == "sepal_width_cm"


def test_the_diagnoses_of_breast_cancer_are_not_swapped() -> None:
    # Malignant nuclei are larger: 17.46 against 12.15 in the published means of the radius.
    means = load("breast_cancer").frame.groupby("diagnosis")["mean_radius"].mean()
    assert means["malignant"] == pytest.approx(17.46, abs=0.005)
    assert means["benign"] == pytest.approx(12.15, abs=0.005)


def test_the_rare_class_is_the_one_with_fewest_rows_or_none() -> None:
    assert load("breast_cancer").rare_class == "malignant"
    assert load("real_estate").rare_class == "yes"
    assert load("social_network").rare_class == "2"
    assert load("iris").rare_class is None
    assert load("iris", rare_class="setosa").rare_class == "setosa"


def test_breast_cancer_at_ratio_10_keeps_36_malignant_rows() -> None:
    dataset = load("breast_cancer", imbalance_ratio=10)
    counts = dataset.frame["diagnosis"].value_counts().to_dict()
    assert counts == {"benign": 357, "malignant": 36}  # 35.7
    assert dataset.rare_class == "malignant"
    assert dataset.frame.index.tolist() == list(range(393))


def test_a_balanced_set_gets_the_rare_class_asked_for() -> None:
    dataset = load("iris", imbalance_ratio=5, rare_class="setosa")
    assert dataset.rare_class == "setosa"
    assert dataset.frame["species"].value_counts().to_dict() == {
        "versicolor": 50,
        "virginica": 22,  # 22.36
        "setosa": 10,
    }


def test_the_random_state_chooses_the_rows() -> None:
    first, again, other = (
        load("wine", imbalance_ratio=5, random_state=state).frame for state in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_imbalance_keeps_what_is_left_of_the_authors_split(shared: Path) -> None:
    path = shared / "data" / "thyroid"
    whole = load("thyroid", path=path)
    thinned = load("thyroid", path=path, imbalance_ratio=10)
    train, test = thinned.split
    assert sorted([*train, *test]) == list(range(len(thinned.frame)))
    # Rows of the thinned test part are, in order, some of the rows of the whole test part.
    columns = list(whole.frame.columns)
    left = [tuple(row) for row in thinned.frame.iloc[test][columns].to_numpy()]
    right = iter([tuple(row) for row in whole.frame.iloc[whole.split[1]][columns].to_numpy()])
    assert all(row in right for row in left)
    assert 0 < len(test) < len(whole.split[1])
    assert np.sum(thinned.frame["Recurred"] == "Yes") == 28  # 27.5, halves up


def test_names_are_forgiving_about_case_and_dashes() -> None:
    assert info("Real-Estate").name == "real_estate"
    assert info(" credit g ").name == "credit_g"


def test_a_wrong_name_lists_what_there_is_and_what_is_close() -> None:
    with pytest.raises(ConfigError, match=r"'thyriod'\. Did you mean thyroid\?.*breast_cancer"):
        load("thyriod")
    with pytest.raises(ConfigError, match=r"no data set 'qqqq'\. There are: consumer_behavior"):
        load("qqqq")


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="recipe='paper': choose one of authors, raw"):
        load("iris", recipe="paper")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigError, match="'iris' is bundled, not read from a file"):
        load("iris", path="iris.csv")
    with pytest.raises(DataError, match="'tulip' is not a class of column 'species'"):
        load("iris", rare_class="tulip")
    with pytest.raises(ConfigError, match="imbalance ratio 0"):
        load("iris", imbalance_ratio=0)


def test_a_set_that_is_not_shipped_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"heloc_dataset_v1\.csv .* https://community\.fico\.com"):
        load("heloc", cache_dir=tmp_path)


def test_a_file_set_loads_from_a_url_and_then_from_the_cache(shared: Path, tmp_path: Path) -> None:
    url = (shared / "data" / "thyroid").resolve().as_uri() + "/"
    first = load("thyroid", url=url, cache_dir=tmp_path)
    again = load("thyroid", cache_dir=tmp_path)
    pd.testing.assert_frame_equal(first.frame, again.frame)
