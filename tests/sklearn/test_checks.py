"""scikit-learn's own checks of an estimator, but for those that are known not to hold."""

from __future__ import annotations

import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from tests.sklearn.conftest import classifier, regressor

from inn.sklearn.base import EXPECTED_FAILED_CHECKS

QUICK = (
    "check_estimator_repr check_no_attributes_set_in_init check_parameters_default_constructible "
    "check_get_params_invariance check_set_params check_estimators_unfitted check_estimator_tags_renamed "
    "check_valid_tag_types check_mixin_order check_requires_y_none check_complex_data "
    "check_estimators_empty_data_messages check_estimator_sparse_array check_fit1d "
    "check_n_features_in_after_fitting check_dict_unchanged check_supervised_y_no_nan "
    "check_all_zero_sample_weights_error check_dataframe_column_names_consistency "
).split()
SIZES = dict.fromkeys(("neurons", "width", "rounds"))  # those that the estimators have by themselves


@pytest.mark.parametrize("check", [name for name in QUICK if hasattr(estimator_checks, name)])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_quick_checks(check, make):
    estimator = make(max_iter=1, batch=64)
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [classifier(max_iter=15), regressor(max_iter=20, lr=5e-3, **SIZES)],
    expected_failed_checks=lambda _: EXPECTED_FAILED_CHECKS,
)
def test_all_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_what_is_said_not_to_hold_does_not():
    for name in ("check_sample_weight_equivalence_on_dense_data",):
        with pytest.raises(AssertionError):
            getattr(estimator_checks, name)("SequenceClassifier", classifier())
