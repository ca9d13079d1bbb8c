"""Evaluation: from logits to scores with intervals, comparisons and audits."""

from fewshot.core.lazy import face

__getattr__, __dir__ = face(
    __name__,
    {
        "MODES": "fewshot.evaluation.scores",
        "Predict": "fewshot.evaluation.scores",
        "Scores": "fewshot.evaluation.scores",
        "as_predict": "fewshot.evaluation.scores",
        "evaluate": "fewshot.evaluation.scores",
        "hardest_pairs": "fewshot.evaluation.scores",
        "interval95": "fewshot.evaluation.scores",
        "paired_difference": "fewshot.evaluation.scores",
    },
)
