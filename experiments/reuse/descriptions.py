"""Descriptions of the classes as the class graph's ``prior``: which classes depend on which.

    python experiments/reuse/descriptions.py

From one image per class the graph sees only roughly which classes are close to each other; descriptions say
more. The features are synthetic: each property that a description names moves its class. The figure is the
rank correlation of the dependencies with the similarity of the classes' true means, without and with the
prior.
"""

import torch
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from torch import Tensor

from fewshot import ClassGraph
from fewshot.graph.vectors import normalize

DESCRIPTIONS = {
    "tiger": "large wild cat, orange fur with black stripes, hunts alone in forest",
    "lynx": "wild cat, grey fur with spots, hunts alone in forest and snow",
    "house cat": "small tame cat, soft fur, lives with people",
    "wolf": "wild dog, grey fur, hunts in packs in forest and snow",
    "sheepdog": "tame dog, long fur, herds sheep, lives with people",
    "zebra": "large grazer, short fur with black stripes, lives in herds on grassland",
    "horse": "large tame grazer, short fur, carries people",
    "sheep": "tame grazer, wool, lives in herds on grassland",
    "owl": "bird with feathers, hunts alone at night in forest",
    "hen": "tame bird with feathers, lays eggs, lives with people",
    "penguin": "bird with feathers, swims, lives in herds on snow",
    "seal": "swims, grey fur, hunts fish, lives in herds on snow",
}


def similarity() -> Tensor:
    """Cosines [N, N] of the descriptions' words, with rarer words weighted more."""
    words = TfidfVectorizer(stop_words="english").fit_transform(DESCRIPTIONS.values())
    return torch.from_numpy((words @ words.T).toarray()).float()


def true_means(size: int, generator: torch.Generator) -> Tensor:
    """Class means [N, D]: a vector for each word of the description, and one that no word describes."""
    words = CountVectorizer(stop_words="english", binary=True).fit_transform(DESCRIPTIONS.values())
    said = torch.from_numpy(words.toarray()).float() @ torch.randn(words.shape[1], size, generator=generator)
    means = said + 0.7 * torch.randn(len(DESCRIPTIONS), size, generator=generator)
    return means - means.mean(0)


def likeness(dependencies: Tensor, means: Tensor) -> float:
    others = ~torch.eye(len(means), dtype=torch.bool)
    cosines = normalize(means) @ normalize(means).T
    return float(spearmanr(dependencies[others], cosines[others]).statistic)


@torch.no_grad()
def main(episodes: int = 50) -> dict[str, float]:
    graph, generator = ClassGraph.pretrained(), torch.Generator().manual_seed(0)
    prior = 5 * similarity()  # in the units of the dependencies' logits
    found = {"without prior": 0.0, "with prior": 0.0}
    for _ in range(episodes):
        means = true_means(64, generator)
        support = (means + 4 * torch.randn(means.shape, generator=generator))[None, :, None]  # [1, N, 1, D]
        for name, given in zip(found, (None, prior), strict=True):
            out = graph(support, support[:, :, 0], prior=given)
            found[name] += likeness(out.dependencies[0], means) / episodes
    for name, value in found.items():
        print(f"{name}: rank correlation {value:+.2f}")
    return found


if __name__ == "__main__":
    main()
