"""Macro-F1 and macro AUC of predicted classes, of many weightings of the queries at once.

Shape legend: B weightings, Q queries, C classes, P and N queries of a class and of the others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def macro_f1(weight_BQ: Float64, true_Q: Codes, predicted_Q: Codes) -> Float64:
    """Mean over classes of 2·TP / (2·TP + FP + FN), [B]; a class that no query of a weighting has is left out of it.

    Args:
        weight_BQ: how much each query counts.
        true_Q: codes of the queries' classes, from 0.
        predicted_Q: codes of the predicted ones.
    """
    classes = 1 + int(max(true_Q.max(), predicted_Q.max()))
    pair_QCC = np.zeros((len(true_Q), classes * classes))
    pair_QCC[np.arange(len(true_Q)), true_Q * classes + predicted_Q] = 1
    confusion_BCC = (weight_BQ @ pair_QCC).reshape(-1, classes, classes)
    right_BC = np.diagonal(confusion_BCC, axis1=1, axis2=2)
    true_BC, predicted_BC = confusion_BCC.sum(axis=2), confusion_BCC.sum(axis=1)
    return _mean_over_classes(2 * right_BC, true_BC + predicted_BC, true_BC > 0)


def macro_auc(weight_BQ: Float64, true_Q: Codes, score_QC: Float64) -> Float64:
    """Mean over classes of the area under the ROC curve of the class against the others, [B].

    The share of pairs of a query of the class and one of the others that are in the right order, ties by half.

    Args:
        weight_BQ: how much each query counts.
        true_Q: codes of the queries' classes, from 0.
        score_QC: a score for each class, higher for more likely.
    """
    wins_BC, pairs_BC = np.zeros((2, len(weight_BQ), score_QC.shape[1]))
    for code, score_Q in enumerate(score_QC.T):
        of_class_Q = true_Q == code
        score_P1, score_N = score_Q[of_class_Q][:, None], score_Q[~of_class_Q]
        won_PN = (score_P1 > score_N) + 0.5 * (score_P1 == score_N)
        weight_BP, weight_BN = weight_BQ[:, of_class_Q], weight_BQ[:, ~of_class_Q]
        wins_BC[:, code] = ((weight_BP @ won_PN) * weight_BN).sum(axis=1)
        pairs_BC[:, code] = weight_BP.sum(axis=1) * weight_BN.sum(axis=1)
    return _mean_over_classes(wins_BC, pairs_BC, pairs_BC > 0)


def _mean_over_classes(part_BC: Float64, whole_BC: Float64, counted_BC: npt.NDArray[np.bool_]) -> Float64:
    share_BC = np.divide(part_BC, whole_BC, out=np.zeros_like(whole_BC), where=counted_BC)
    count_B = counted_BC.sum(axis=1)
    mean_B: Float64 = np.divide(share_BC.sum(axis=1), count_B, out=np.full(len(count_B), np.nan), where=count_B > 0)
    return mean_B
