"""The two-by-two rule of transfer learning's lecture notes: by data set size and similarity, nothing else."""

from __future__ import annotations

from tlkit.advisor.similarity import SIMILAR, Similarity
from tlkit.advisor.size import Size
from tlkit.plan.choices import EARLY, FINE_TUNE, FREEZE, LAST_LAYERS


def rule_of_thumb(size: Size, similarity: Similarity) -> tuple[str, str]:
    """Strategy and reason by the rule, which is the baseline that the measured advisor is held against.

    Small and similar: freeze. Small and dissimilar: keep the first layers, which are generic. Large and similar:
    fine-tune, and the last layers alone where that is unclear. Large and dissimilar: fine-tune everything from the
    weights as a start. Large is from "medium" on (`tlkit.advisor.size.BOUNDS`), similar from a score of
    `tlkit.advisor.similarity.SIMILAR` on.

    Args:
        size: Of the data set.
        similarity: To ImageNet.
    """
    similar = similarity.score >= SIMILAR
    if not size.is_large:
        chosen = FREEZE if similar else EARLY
    elif similar or similarity.level == "dissimilar":
        chosen = FINE_TUNE
    else:
        chosen = LAST_LAYERS
    kind = "similar to ImageNet" if similar else "unlike ImageNet"
    return chosen, f"the two-by-two rule: {'large' if size.is_large else 'small'} and {kind}, so {chosen}"
