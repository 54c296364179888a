"""The four classifiers of the paper with its settings, one thread each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rddg_ray.config import CLASSIFIERS
from rddg_ray.errors import ConfigError
from rddg_ray.evaluation.encoding import Encoded

_PAPER_SETTINGS: Mapping[str, Mapping[str, float | int]] = {
    "xgboost": {"learning_rate": 0.03, "max_depth": 4},
    "catboost": {"learning_rate": 0.003, "max_depth": 6},
    "lightgbm": {"learning_rate": 0.1, "max_depth": 3},
    "gradient_boosting": {},
}


def make_classifier(
    name: str, random_state: int, settings: Mapping[str, float | int] | None = None
) -> Any:
    """Return an unfitted classifier with scikit-learn's `fit` and `predict_proba`.

    Args:
        name: One of `config.CLASSIFIERS`.
        random_state: Seeds it; of the four only CatBoost's result depends on it.
        settings: What differs from the paper's settings.

    Raises:
        ConfigError: If there is no classifier of that name.
    """
    if name not in CLASSIFIERS:
        raise ConfigError(f"classifiers: {name!r} is not one of {list(CLASSIFIERS)}")
    told: dict[str, Any] = {**_PAPER_SETTINGS[name], **(settings or {})}
    if name == "xgboost":
        from xgboost import XGBClassifier

        return XGBClassifier(n_jobs=1, verbosity=0, random_state=random_state, **told)
    if name == "catboost":
        from catboost import CatBoostClassifier

        return CatBoostClassifier(
            thread_count=1,
            verbose=False,
            allow_writing_files=False,
            random_state=random_state,
            **told,
        )
    if name == "lightgbm":
        from lightgbm import LGBMClassifier

        return LGBMClassifier(n_jobs=1, verbose=-1, random_state=random_state, **told)
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(random_state=random_state, **told)


def fit_predict(
    name: str,
    random_state: int,
    data: Encoded,
    weights: np.ndarray | None = None,
    settings: Mapping[str, float | int] | None = None,
) -> np.ndarray:
    """Fit a classifier on the training rows and judge the test rows.

    Plain arrays go in, so that no column name can upset a library. XGBoost, LightGBM and
    CatBoost treat missing numbers themselves; scikit-learn's gradient boosting refuses them and
    gets the training means.

    Args:
        name: One of `config.CLASSIFIERS`.
        random_state: Seeds it.
        data: Training and test rows.
        weights: How much each training row counts, shape `(n_train,)`; all alike by default.
        settings: What differs from the paper's settings; see `tuning.search`.

    Returns:
        Class probabilities, shape `(n_test, n_classes)`, columns by class code.
    """
    X_train, X_test = data.X_train, data.X_test
    if name == "gradient_boosting":
        X_train, X_test = data.filled(X_train), data.filled(X_test)
    model = make_classifier(name, random_state, settings)
    model.fit(X_train, data.y_train, sample_weight=weights)
    return np.asarray(_probabilities(name, model, X_test), dtype=np.float64)


def _probabilities(name: str, model: Any, X: np.ndarray) -> Any:
    if name == "lightgbm":
        # scikit-learn's check complains that arrays carry no names although none were fitted;
        # the booster itself, which the wrapper would call, does not.
        scores = model.booster_.predict(X, num_threads=1)
        return np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores
    return model.predict_proba(X)


def fit_errors() -> tuple[type[Exception], ...]:
    """Return the errors by which the libraries say that these rows cannot be fitted."""
    from catboost import CatBoostError
    from lightgbm.basic import LightGBMError

    return (ValueError, ArithmeticError, CatBoostError, LightGBMError)
