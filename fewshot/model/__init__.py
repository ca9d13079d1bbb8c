"""Models: from images to features, and through the class graph to logits."""

from fewshot.core.lazy import face

__getattr__, __dir__ = face(
    __name__,
    {
        "FewShotClassifier": "fewshot.model.estimator",
        "GraphFewShot": "fewshot.model.few_shot",
        "Preprocess": "fewshot.model.preprocess",
    },
    modules=("backbones",),
)
