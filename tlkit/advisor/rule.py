"""The two-by-two rule from transfer-learning lecture notes: by dataset size and similarity alone."""

from __future__ import annotations

from tlkit.advisor.similarity import SIMILAR, Similarity
from tlkit.advisor.size import Size
from tlkit.plan.choices import EARLY, FINE_TUNE, FREEZE, LAST_LAYERS


def rule_of_thumb(size: Size, similarity: Similarity) -> tuple[str, str]:
    """Return strategy and reason by the rule, the baseline of the measured advisor.

    Small and similar: freeze. Small and dissimilar: keep only the early layers, which are generic. Large and similar:
    fine-tune. Large and in between: train the last layers. Large and dissimilar: fine-tune, with the weights as the
    starting point. Large means at least "medium" (`tlkit.advisor.size.BOUNDS`); similar means a score of at least
    `tlkit.advisor.similarity.SIMILAR`.

    Args:
        size: Size of the dataset.
        similarity: Similarity to ImageNet.
    """
    similar = similarity.score >= SIMILAR
    if not size.is_large:
        chosen = FREEZE if similar else EARLY
    elif similar or similarity.level == "dissimilar":
        chosen = FINE_TUNE
    else:
        chosen = LAST_LAYERS
    kind = "similar to" if similar else "unlike"
    return chosen, f"the two-by-two rule for a {'large' if size.is_large else 'small'} dataset {kind} ImageNet"
