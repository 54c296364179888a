"""The sampler keeps imbalanced-learn's promises."""

from __future__ import annotations

import asyncio

import numpy as np
import pandas as pd
import pytest
from imblearn.pipeline import Pipeline
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rddg_ray import ConfigError, DataError, RDDGSampler
from rddg_ray.config import CoresetSettings

QUICK = CoresetSettings(epochs=6, ensemble=1)


def sampler(**options):
    return RDDGSampler(**{"coreset": QUICK, **options})


def arrays(n_rare=12, n_common=40):
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(0.0, 1.0, (n_common, 3)), rng.normal(2.0, 1.0, (n_rare, 3))])
    return X.round(3), np.array([0] * n_common + [1] * n_rare)


def frame(n_rare=12, n_common=40):
    rng = np.random.default_rng(1)
    n_rows = n_rare + n_common
    income = rng.normal(50.0, 9.0, n_rows).round(2)
    income[::7] = np.nan
    X = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n_rows),
            "income": income,
            "city": rng.choice(["Oslo", "Köln, West", 'a "b" {c}'], n_rows),
            "grade": pd.Categorical(rng.choice(["low", "high"], n_rows), ["low", "mid", "high"]),
            "smokes": rng.random(n_rows) < 0.4,
            "small": rng.normal(0.0, 1.0, n_rows).round(2).astype("float32"),
        },
        index=np.arange(n_rows) * 3 + 5,
    )
    y = pd.Series(["well"] * n_common + ["ill"] * n_rare, index=X.index, name="state")
    return X, y


def test_an_array_comes_back_balanced_with_its_own_rows_first_and_unchanged():
    X, y = arrays()
    X_new, y_new = sampler().fit_resample(X, y)
    assert isinstance(X_new, np.ndarray)
    assert X_new.dtype == X.dtype
    assert y_new.dtype == y.dtype
    np.testing.assert_array_equal(X_new[: len(X)], X)
    np.testing.assert_array_equal(y_new[: len(y)], y)
    assert np.bincount(y_new).tolist() == [40, 40]
    assert np.isfinite(X_new).all()


def test_a_frame_keeps_columns_types_and_the_name_of_y():
    X, y = frame()
    made = sampler()
    X_new, y_new = made.fit_resample(X, y)
    assert list(X_new.columns) == list(X.columns)
    assert X_new.dtypes.to_dict() == X.dtypes.to_dict()
    pd.testing.assert_frame_equal(X_new.iloc[: len(X)], X.reset_index(drop=True))
    assert y_new.name == "state"
    assert y_new.dtype == y.dtype
    assert y_new.value_counts().to_dict() == {"well": 40, "ill": 40}
    assert made.sampling_strategy_ == {"well": 0, "ill": 28}
    new = X_new.iloc[len(X) :]
    assert set(new["city"]) <= set(X["city"])
    assert set(new["grade"]) <= {"low", "high"}
    assert new["age"].between(X["age"].min() - 60, X["age"].max() + 60).all()
    assert not new.drop(columns="income").isna().any().any()


def test_no_new_row_equals_a_real_one():
    X, y = frame()
    X_new, y_new = sampler().fit_resample(X, y)
    both = X_new.assign(state=y_new)
    real = {tuple(row) for row in both.iloc[: len(X)].astype("str").to_numpy()}
    assert not real & {tuple(row) for row in both.iloc[len(X) :].astype("str").to_numpy()}


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b"]),
        np.array([3, -1]),
        np.array([0.0, 1.0]),
        np.array([True, False]),
        np.array(["01", "1"]),
        np.array(["x", 7], dtype=object),
    ],
    ids=["text", "integer", "float", "boolean", "numbers as text", "mixed objects"],
)
def test_classes_keep_their_own_type(labels):
    X, y = arrays()
    y_new = sampler().fit_resample(X, labels[y])[1]
    assert y_new.dtype == labels.dtype
    assert [type(value) for value in y_new.tolist()] == [
        type(labels[value].item() if labels.dtype != object else labels[value])
        for value in [*y, *[1] * 28]
    ]
    assert sum(value == labels[1] for value in y_new) == 40


def test_classes_of_category_type_stay_categories():
    X, y = frame()
    y_new = sampler().fit_resample(X, y.astype("category"))[1]
    assert y_new.dtype == y.astype("category").dtype
    assert (y_new == "ill").sum() == 40


@pytest.mark.parametrize(
    ("strategy", "sizes"),
    [
        ("auto", [40, 40]),
        ("minority", [40, 40]),
        ("not majority", [40, 40]),
        ("not minority", [40, 12]),
        (0.5, [40, 20]),
        ({1: 17}, [40, 17]),
        ({0: 45, 1: 20}, [45, 20]),
    ],
)
def test_sampling_strategies_mean_what_they_mean_to_imbalanced_learn(strategy, sizes):
    X, y = arrays()
    made = sampler(sampling_strategy=strategy, method="epic")
    assert np.bincount(made.fit_resample(X, y)[1]).tolist() == sizes
    assert made.sampling_strategy_ == {0: sizes[0] - 40, 1: sizes[1] - 12}


def test_columns_named_categorical_get_only_values_they_have():
    rng = np.random.default_rng(3)
    X, y = arrays()
    X[:, 1] = rng.choice([1.0, 5.0, 9.0], len(X))
    X_new, _ = sampler(categorical_features=[1]).fit_resample(X, y)
    assert set(X_new[:, 1]) == {1.0, 5.0, 9.0}


def test_texts_of_an_array_are_not_cut_to_the_longest_before():
    X, y = arrays()
    texts = X.round(1).astype("str")
    X_new, _ = sampler(method="epic").fit_resample(texts, y)
    assert X_new.dtype.kind == "U"
    assert X_new[: len(X)].tolist() == texts.tolist()
    assert np.isfinite(X_new.astype(float)).all()


def test_a_pipeline_is_cross_validated_and_its_test_folds_are_not_resampled():
    X, y = arrays()
    steps = [("rddg", sampler()), ("fit", make_pipeline(StandardScaler(), LogisticRegression()))]
    scores = cross_val_score(Pipeline(steps), X, y, cv=3, scoring="balanced_accuracy")
    assert scores.shape == (3,)
    # Two normal clouds 2 standard deviations apart in each of 3 columns: the best rule is right
    # for Phi(sqrt(3)) = 95.8% of each class.
    assert scores.mean() > 0.8


def test_parameters_survive_cloning_and_setting():
    original = sampler(sampling_strategy={1: 20}, method="epic", random_state=4)
    copy = clone(original)
    assert copy.get_params() == original.get_params()
    assert copy.set_params(method="rddg").method == "rddg"
    assert original.method == "epic"


def test_the_same_random_state_gives_the_same_rows():
    X, y = arrays()
    first, second = (sampler(random_state=7).fit_resample(X, y)[0] for _ in range(2))
    other = sampler(random_state=8).fit_resample(X, y)[0]
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_run_directory_answers_the_second_fit(tmp_path):
    X, y = arrays()
    made = [sampler(run_dir=tmp_path / "kept") for _ in range(2)]
    first, second = (one.fit_resample(X, y)[0] for one in made)
    np.testing.assert_array_equal(first, second)
    assert made[0].result_.usage == made[1].result_.usage
    # Other rows get a folder of their own, as the folds of a cross-validation need.
    sampler(run_dir=tmp_path / "kept").fit_resample(X[:-1], y[:-1])
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_strategy_names_classes_as_python_compares_them():
    X, y = arrays()
    made = sampler(sampling_strategy={1: 20}).fit_resample(X, y.astype(float))
    assert (made[1] == 1.0).sum() == 20
    assert made[1].dtype == np.float64


def test_a_class_called_na_is_a_class():
    X, y = arrays()
    _, labels = sampler().fit_resample(X, np.where(y == 1, "NA", "ok"))
    assert (labels == "NA").sum() == (labels == "ok").sum() == 40


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampling_strategy": len}, "sampling_strategy"),
        ({"sampling_strategy": [1]}, "sampling_strategy"),
        ({"sampling_strategy": {1: 5}}, "12 rows already"),
        ({"sampling_strategy": {9: 50}}, "'9'"),
        ({"method": "smote"}, "method"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_a_wrong_parameter_is_named(options, words):
    X, y = arrays()
    with pytest.raises(ConfigError, match=words):
        sampler(**options).fit_resample(X, y)


def test_rows_that_cannot_be_used_are_data_errors():
    X, y = arrays()
    with pytest.raises(DataError, match="class"):
        sampler().fit_resample(X, np.zeros(len(X), dtype=int))
    with pytest.raises(DataError, match="nope"):
        sampler(categorical_features=["nope"]).fit_resample(X, y)
    with pytest.raises(ValueError, match="inconsistent"):
        sampler().fit_resample(X, y[:-1])


def test_resampling_works_inside_a_running_event_loop():
    X, y = arrays()

    async def notebook():
        return sampler(method="epic").fit_resample(X, y)

    assert np.bincount(asyncio.run(notebook())[1]).tolist() == [40, 40]
