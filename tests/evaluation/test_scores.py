"""Scores against hand-computed cases, scikit-learn and a plain loop in float64."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation import scores
from fewshot.evaluation.answers import risks
from fewshot.evaluation.scores import as_predict, evaluate, hardest_pairs, interval95, paired_difference
from fewshot.methods.prototypes import prototypes

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")


class Fixed(EpisodeSampler):
    """A sampler of given episodes."""

    def __init__(self, batches):
        data = FeatureSet(torch.zeros(24, 2), torch.arange(24) // 4, NAMES)
        super().__init__(data, way=4, query=1, episodes=100)
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def make_batch(classes, labels, logits, **masks):
    """An episode whose items are the logits that a method shall give."""
    b, n = classes.shape
    return Episode(
        query=logits,
        query_labels=labels,
        classes=classes,
        support_index=torch.zeros(b, n, 1, dtype=torch.int64),
        query_index=torch.zeros_like(labels),
        proportions=torch.full((b, n), 1 / n),
        numbers=torch.arange(b),
        **masks,
    )


def random_batch(seed, batch=7, way=4, queries=11):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.stack([torch.randperm(len(NAMES), generator=generator)[:way] for _ in range(batch)])
    labels = torch.randint(way, (batch, queries), generator=generator)
    return make_batch(classes, labels, 2 * torch.randn(batch, queries, way, generator=generator))


def given(episode):
    return episode.query


def test_by_hand():
    # Two episodes of the classes (cat, ant) and (bee, cat), three queries each: 2 of 3 right, then 0 of 3.
    classes = torch.tensor([[2, 0], [1, 2]])
    labels = torch.tensor([[0, 0, 1], [1, 1, 0]])
    predicted = torch.tensor([[0, 1, 1], [0, 0, 1]])
    logits = math.log(3.0) * torch.nn.functional.one_hot(predicted, 2).float()  # a probability of 0.75
    scores = evaluate(given, Fixed([make_batch(classes, labels, logits)]), method="m", mode="joint")
    assert scores.accuracy == pytest.approx(100 / 3)
    # The two accuracies, 66.67 and 0, have s = 66.67 / sqrt(2).
    assert scores.ci95 == pytest.approx(1.96 * (200 / 3) / math.sqrt(2) / math.sqrt(2))
    assert scores.ece == pytest.approx(0.75 - 1 / 3)
    assert scores.per_class == pytest.approx({"ant": 100.0, "bee": 0.0, "cat": 25.0})
    expected = torch.zeros(6, 6, dtype=torch.int64)
    expected[2, 2], expected[2, 0], expected[0, 0], expected[2, 1], expected[1, 2] = 1, 1, 1, 2, 1
    assert torch.equal(scores.confusion, expected)
    assert scores.row() == {
        "method": "m", "mode": "joint", "relations": "none", "way": 4, "shot": 1,
        "accuracy": 33.333, "ci95": 65.333,
        "episodes": 2, "fingerprint": scores.fingerprint, "ece": 0.4167,
        "nll": 1.0201, "aurc": 0.6667,
    }  # fmt: skip


def test_against_scikit_learn_and_a_loop():
    batches = [random_batch(seed) for seed in range(3)]
    scores = evaluate(given, Fixed(batches), method="m")
    truth, guess, probabilities, labels, accuracies = [], [], [], [], []
    for batch in batches:
        for classes, target, logits in zip(batch.classes, batch.query_labels, batch.query, strict=True):
            chosen = logits.argmax(dim=-1)
            truth += classes[target].tolist()
            guess += classes[chosen].tolist()
            accuracies.append(100 * accuracy_score(target, chosen))
            probabilities.append(logits.double().softmax(dim=-1))
            labels.append(target)
    assert scores.confusion.tolist() == confusion_matrix(truth, guess, labels=range(6)).tolist()
    torch.testing.assert_close(scores.per_episode, torch.tensor(accuracies, dtype=torch.float64))
    assert scores.accuracy == pytest.approx(sum(accuracies) / len(accuracies))
    calibration = multiclass_calibration_error(torch.cat(probabilities), torch.cat(labels), 4, n_bins=15)
    assert scores.ece == pytest.approx(calibration.item())
    count, confidence, right = scores.calibration[scores.calibration[:, 0] > 0].T
    assert (count * (confidence - right).abs()).sum() / count.sum() == pytest.approx(scores.ece)
    assert (count * right).sum() == scores.confusion.diagonal().sum()


def test_likelihood_and_risk_against_scikit_learn_and_a_loop():
    batches = [random_batch(seed) for seed in range(3)]
    scores = evaluate(given, Fixed(batches), method="m")
    p = torch.cat([batch.query.double().softmax(-1).flatten(0, 1) for batch in batches])
    y = torch.cat([batch.query_labels.flatten() for batch in batches])
    assert scores.nll == pytest.approx(log_loss(y, p))
    wrong = (p.argmax(1) != y)[p.amax(1).argsort(descending=True)].tolist()
    curve = [sum(wrong[:k]) / k for k in range(1, len(y) + 1)]
    assert scores.aurc == pytest.approx(sum(curve) / len(y))
    assert scores.risk.tolist() == pytest.approx(
        [curve[math.ceil(len(y) * k / 100) - 1] for k in range(1, 101)]
    )
    assert scores.risk[-1] == pytest.approx(1 - scores.confusion.diagonal().sum() / len(y))


def test_a_class_that_is_ruled_out_does_not_make_the_likelihood_infinite():
    batch = random_batch(0, batch=1, queries=1)
    batch.query[0, 0, batch.query_labels[0, 0]] = -torch.inf
    assert evaluate(given, Fixed([batch]), method="m").nll == pytest.approx(12 * math.log(10))


def test_answers_that_are_equally_sure_come_in_no_order():
    sure = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.2])
    hits = torch.tensor([True, False, True, True, False])
    expected = [0, (1 / 3) / 2, (2 / 3) / 3, 1 / 4, 2 / 5]
    for order in itertools.permutations(range(5)):
        found = risks(sure[list(order)], hits[list(order)])
        assert found.tolist() == pytest.approx(expected)


def test_padding_changes_nothing():
    batch = random_batch(5)
    wide = torch.full((7, 13, 6), 9.0)  # two classes and two queries of padding, with tempting logits
    wide[:, :11, :4] = batch.query
    padded = make_batch(
        torch.nn.functional.pad(batch.classes, (0, 2), value=-1),
        torch.nn.functional.pad(batch.query_labels, (0, 2), value=-1),
        wide,
        class_mask=(torch.arange(6) < 4).expand(7, 6),
        query_mask=(torch.arange(13) < 11).expand(7, 13),
    )
    plain, masked = (evaluate(given, Fixed([b]), method="m") for b in (batch, padded))
    assert torch.equal(plain.per_episode, masked.per_episode)
    assert torch.equal(plain.confusion, masked.confusion)
    assert (plain.ece, plain.nll, plain.aurc) == pytest.approx((masked.ece, masked.nll, masked.aurc))


def test_fingerprint_is_the_samplers_also_of_a_share():
    data = FeatureSet(torch.randn(60, 4), torch.arange(60) // 10, NAMES)
    sampler = EpisodeSampler(data, way=3, query=4, episodes=20, batch=8, start=3)
    share = EpisodeSampler(data, way=3, query=4, episodes=20, batch=8, start=3, rank=1, world=2)
    scores, part = (evaluate(as_predict(prototypes), s, method="m") for s in (sampler, share))
    assert scores.fingerprint == sampler.fingerprint() == part.fingerprint
    assert torch.equal(part.per_episode, scores.per_episode[1::2])


def test_one_episode_has_no_interval():
    scores = evaluate(given, Fixed([random_batch(0, batch=1)]), method="m")
    assert math.isnan(scores.ci95)
    assert scores.row()["ci95"] is None


def test_paired_difference_leaves_out_what_episodes_share():
    batch = random_batch(1, batch=40)
    better = make_batch(batch.classes, batch.query_labels, batch.query.clone())
    better.query[:, 0] = 99 * torch.nn.functional.one_hot(batch.query_labels[:, 0], 4)
    low, high = (evaluate(given, Fixed([b]), method="m") for b in (batch, better))
    difference, ci95 = paired_difference(high, low)
    assert difference == pytest.approx(high.accuracy - low.accuracy)
    assert (difference, ci95) == interval95(high.per_episode - low.per_episode)
    assert ci95 < min(low.ci95, high.ci95)
    assert paired_difference(low, low) == (0.0, 0.0)


def test_refusals(monkeypatch):
    one, other = (evaluate(given, Fixed([random_batch(0, way=n)]), method=f"m{n}") for n in (3, 4))
    same = (
        f"expected m3 and m4 on the same episodes, got fingerprints {one.fingerprint} and {other.fingerprint}"
    )
    with pytest.raises(InputError, match=same):
        paired_difference(one, other)
    with pytest.raises(InputError, match=r"m: expected logits \[B, M, N\] = \[7, 11, 4\], got \[7, 11, 3\]"):
        evaluate(lambda episode: episode.query[..., :3], Fixed([random_batch(0)]), method="m")
    with pytest.raises(InputError, match="m: expected logits that are numbers, got nan"):
        evaluate(lambda episode: episode.query * math.nan, Fixed([random_batch(0)]), method="m")
    endless = Fixed([random_batch(0)])
    endless.episodes = None
    with pytest.raises(InputError, match="expected a number of episodes"):
        evaluate(given, endless, method="m")
    with pytest.raises(InputError, match="at least 1 episode"):
        evaluate(given, Fixed([]), method="m")
    monkeypatch.setattr(scores, "MOST", 2)
    with pytest.raises(InputError, match=r"sampler: expected at most 2 classes, got \d"):
        evaluate(given, Fixed([random_batch(0)]), method="m")


def test_hardest_pairs_are_symmetric_and_sorted():
    confusion = torch.tensor([[50, 5, 0], [1, 8, 1], [0, 0, 10]])
    pairs = hardest_pairs(confusion, ["a", "b", "c"], top=2)
    assert [(pair["a"], pair["b"], pair["count"]) for pair in pairs] == [("a", "b", 6), ("b", "c", 1)]
    assert pairs[0]["percent"] == pytest.approx(100 * 6 / 65, abs=0.01)
    assert hardest_pairs(confusion.T, ["a", "b", "c"], top=1)[0]["count"] == 6
    assert hardest_pairs(torch.eye(3, dtype=torch.int64), ["a", "b", "c"]) == []


def test_as_predict_takes_modules_without_parameters():
    class Yardstick(torch.nn.Module):
        def forward(self, support, query, **options):
            return prototypes(support, query)

    data = FeatureSet(torch.randn(40, 4), torch.arange(40) // 10, NAMES[:4])
    episode = next(iter(EpisodeSampler(data, way=3, query=5, batch=2)))
    assert torch.equal(as_predict(Yardstick())(episode), as_predict(prototypes)(episode))


class Weighted(torch.nn.Module):
    """Prototypes, in a module that has a weight and so a device."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def classify(self, support, query, **options):
        return prototypes(support, query) * self.weight


def test_as_predict_takes_the_episode_to_the_device_of_a_method_s_module():
    data = FeatureSet(torch.randn(40, 4), torch.arange(40) // 10, NAMES[:4])
    episode = next(iter(EpisodeSampler(data, way=3, query=5, batch=2)))
    assert as_predict(Weighted().classify)(episode).shape == (2, 15, 3)
    assert as_predict(Weighted().to("meta").classify)(episode).is_meta


def test_as_predict_needs_items():
    data = FeatureSet(torch.randn(40, 4), torch.arange(40) // 10, NAMES[:4])
    episode = next(iter(EpisodeSampler(data, way=3, query=5, batch=2, gather=False)))
    with pytest.raises(InputError, match="episode: expected one with its items, got indices alone"):
        as_predict(prototypes)(episode)


def test_as_predict_passes_the_episode_on():
    seen = {}

    def method(support, query, **options):
        seen.update(options)
        return SimpleNamespace(logits=prototypes(support, query))

    data = FeatureSet(torch.randn(40, 4), torch.arange(40) // 10, NAMES[:4])
    episode = next(iter(EpisodeSampler(data, way=(2, 3), query=5, batch=2)))
    logits = as_predict(method, joint=True, know_proportions=True)(episode)
    assert torch.equal(logits, prototypes(episode.support, episode.query))
    assert seen["joint"] is True
    assert seen["proportions"] is episode.proportions
    assert seen["class_mask"] is episode.class_mask
    as_predict(method)(episode)
    assert seen["joint"] is False
    assert seen["proportions"] is None
