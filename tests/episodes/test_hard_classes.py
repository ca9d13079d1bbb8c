"""Near classes: a taxonomy by hand, scikit-learn's cosine, which source is used, and episodes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numbered import numbered, uniform, whole
from sklearn.metrics.pairwise import cosine_similarity

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.episodes.hard_classes import class_distances, cosine_of_means, nearest, taxonomy_distances
from fewshot.episodes.sampler import EpisodeSampler

NAMES = ("boa", "cobra", "dog", "oak")
IMAGES = LabelledSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.arange(4), NAMES)
TAXONOMY = (
    "entity/animal/snake/boa",
    "entity/animal/snake/cobra",
    "entity/animal/dog",
    "entity/plant/tree/oak",
)


def test_steps_in_a_taxonomy() -> None:
    expected = [[0, 2, 3, 6], [2, 0, 3, 6], [3, 3, 0, 5], [6, 6, 5, 0]]
    assert taxonomy_distances(TAXONOMY).tolist() == expected


def test_equal_names_under_different_parents_are_different_nodes() -> None:
    assert taxonomy_distances(("a/x/1", "b/x/1")).tolist() == [[0, 6], [6, 0]]


def test_a_class_above_another() -> None:
    assert taxonomy_distances(("animal", "animal/dog/poodle")).tolist() == [[0, 2], [2, 0]]


def test_cosine_of_class_means() -> None:
    generator = torch.Generator().manual_seed(0)
    items, counts = torch.randn(10, 6, generator=generator), torch.tensor([2, 3, 5])
    means = np.stack([part.mean(0).numpy() for part in items.split(counts.tolist())])
    np.testing.assert_allclose(cosine_of_means(items, counts), cosine_similarity(means), atol=1e-6)


def test_which_source_is_used() -> None:
    similarity = torch.rand(4, 4, generator=torch.Generator().manual_seed(1))
    groups = ("reptile", "reptile", "mammal", "plant")
    features = FeatureSet(torch.eye(4), torch.arange(4), NAMES)
    np.testing.assert_allclose(class_distances(features), -np.eye(4))
    grouped = replace(features, superclasses=groups)
    assert class_distances(grouped).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]
    placed = replace(grouped, taxonomy=TAXONOMY)
    np.testing.assert_array_equal(class_distances(placed), taxonomy_distances(TAXONOMY))
    np.testing.assert_allclose(class_distances(placed, similarity), -similarity.numpy())


def test_nearest_leaves_the_class_itself_out() -> None:
    near = nearest(taxonomy_distances(TAXONOMY), 8)
    assert near.shape == (4, 3)
    assert near[0].tolist() == [1, 2, 3]
    assert near[3].tolist()[0] == 2


def test_ties_are_broken_at_random_but_always_alike() -> None:
    ties = np.zeros((200, 200))
    near = nearest(ties, 8)
    np.testing.assert_array_equal(near, nearest(ties, 8))
    assert (near != np.arange(200)[:, None]).all()
    assert np.bincount(near.ravel(), minlength=200).max() < 25  # no class is everyone's neighbour


def test_errors() -> None:
    with pytest.raises(InputError, match="got images with none of them"):
        class_distances(IMAGES)
    with pytest.raises(
        InputError, match=r"similarity: expected \[classes, classes\] = \[4, 4\], got \[2, 2\]"
    ):
        class_distances(IMAGES, torch.eye(2))
    with pytest.raises(InputError, match="similarity: expected finite numbers"):
        class_distances(IMAGES, torch.full((4, 4), torch.nan))


def test_hard_classes_are_the_nearest() -> None:
    """Two far branches of 9 classes: an anchor's 8 nearest are the rest of its branch."""
    taxonomy = tuple(f"root/{c // 9}/{c}" for c in range(18))
    e = whole(EpisodeSampler(numbered([8] * 18, taxonomy=taxonomy), query=3, classes="hard", episodes=500))
    branch = e.classes // 9
    assert (branch == branch[:, :1]).all()
    assert uniform(e.classes[:, 0], 18)
    assert uniform(e.classes, 18)


def test_hard_classes_widen_with_the_way() -> None:
    """7 classes: the others come from the 12 nearest, the 11 of the branch and one beyond."""
    taxonomy = tuple(f"root/{c // 12}/{c}" for c in range(36))
    e = whole(
        EpisodeSampler(numbered([8] * 36, taxonomy=taxonomy), way=7, query=3, classes="hard", episodes=500)
    )
    strangers = 7 - torch.nn.functional.one_hot(e.classes // 12).sum(1).max(1).values
    assert set(strangers.tolist()) == {0, 1}


def test_hard_classes_of_features_and_by_similarity() -> None:
    corner = torch.eye(2).repeat_interleave(9, 0)  # 9 classes along each axis
    items = (corner * torch.arange(1, 19)[:, None]).repeat_interleave(6, 0)
    labels = torch.arange(18).repeat_interleave(6)
    features = FeatureSet(items, labels, tuple(map(str, range(18))))
    e = whole(EpisodeSampler(features, query=3, classes="hard", episodes=200))
    assert (e.classes // 9 == e.classes[:, :1] // 9).all()
    parity = (torch.arange(18)[:, None] % 2 == torch.arange(18) % 2).float()  # wins over the means
    e = whole(EpisodeSampler(features, query=3, classes="hard", similarity=parity, episodes=200))
    assert (e.classes % 2 == e.classes[:, :1] % 2).all()


def test_hard_classes_need_to_know_what_is_near() -> None:
    with pytest.raises(InputError, match='classes="hard": expected a taxonomy, superclasses or a similarity'):
        EpisodeSampler(numbered([20] * 6), classes="hard")
