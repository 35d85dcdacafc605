"""scikit-learn: models of signals as estimators, which classify sequences, tell numbers of them, or forecast them."""

from __future__ import annotations

from inn.system.packages import require

try:
    from sklearn.utils.validation import validate_data  # noqa: F401 - scikit-learn 1.6, the oldest that will do
except ImportError:
    require("sklearn", "inn.sklearn", "sklearn")
    raise

from inn.sklearn.classes import SequenceClassifier, SequenceRegressor
from inn.sklearn.forecast import Forecaster

__all__ = ["Forecaster", "SequenceClassifier", "SequenceRegressor"]
