"""Methods that are given known classes and relations to them."""

import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from torch.nn.functional import cross_entropy, normalize

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.graph.known_classes import KnownClasses
from fewshot.methods.catalogue import METHODS
from fewshot.methods.kernel_regression import KernelRegression, _leave_one_out
from fewshot.methods.known_calibration import known_calibration, known_classes_alone
from fewshot.methods.mixture import Mixture, make_mixture
from fewshot.methods.prototypes import prototypes
from fewshot.methods.shared.fitting import hide_own
from fewshot.methods.shared.known import class_means, edges, messages
from fewshot.methods.shared.material import Material

B, N, K, M, D, C = 3, 4, 5, 11, 8, 10


def base(seed: int = 0, classes: int = C) -> FeatureSet:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 1, D, generator=generator)
    points = centres + 0.7 * torch.randn(classes, 30, D, generator=generator)
    labels = torch.arange(classes).repeat_interleave(30)
    return FeatureSet(points.flatten(0, 1), labels, tuple(f"known {c}" for c in range(classes)))


TRAIN = base()
KNOWN = KnownClasses.fit(TRAIN.items, TRAIN.labels, TRAIN.class_names)
AMONG = KNOWN.prototypes @ KNOWN.prototypes.T
FITTED = KernelRegression.fit(TRAIN, KNOWN.prototypes, AMONG)


def learned() -> Mixture:
    mixture = Mixture()
    mixture.weight.data = torch.tensor([0.3, -1.0])
    return mixture.eval()


CALLS = {
    "known-calibration": known_calibration,
    "kernel-regression": FITTED,
    "mixture": learned(),
    "zero-shot": known_classes_alone,
}
every = pytest.mark.parametrize("method", CALLS.values(), ids=CALLS)
close = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture
def given():
    """Supports, queries and relations of episodes."""
    generator = torch.Generator().manual_seed(1)
    support = torch.randn(B, N, K, D, generator=generator)
    query = torch.randn(B, M, D, generator=generator)
    return support, query, torch.randn(B, N, C, generator=generator)


def test_the_catalogue_says_which_need_relations():
    assert {method.name for method in METHODS if method.relations == "must"} == set(CALLS)
    assert [method.name for method in METHODS if method.relations == "may"] == ["class-graph"]


@every
@torch.no_grad()
def test_scale_offset_and_order_of_known_classes_change_nothing(method, given):
    support, query, relations = given
    usual = method(support, query, known=KNOWN.prototypes, relations=relations)
    order = torch.randperm(C, generator=torch.Generator().manual_seed(2))
    changed = method(support, query, known=KNOWN.prototypes[order], relations=(3 * relations - 7)[..., order])
    torch.testing.assert_close(changed, usual, **close)
    other = method(support, query, known=KNOWN.prototypes, relations=relations.flip(-1))
    assert (other - usual).abs().max() > 1e-2


@every
@torch.no_grad()
def test_relations_of_all_episodes_at_once_and_classes_permuted(method, given):
    support, query, relations = given
    rows = relations[:1].expand(B, -1, -1)
    usual = method(support, query, known=KNOWN.prototypes, relations=rows)
    once = method(support, query, known=KNOWN.prototypes, relations=relations[0])
    torch.testing.assert_close(once, usual, **close)
    order = torch.tensor([2, 0, 3, 1])
    permuted = method(support[:, order], query, known=KNOWN.prototypes, relations=rows[:, order])
    torch.testing.assert_close(permuted, usual[..., order], **close)


@every
@torch.no_grad()
def test_padded_equals_unpadded(method, given):
    support, query, relations = given
    expected = method(support[:, :3, :2], query, known=KNOWN.prototypes, relations=relations[:, :3])
    support, relations = support.clone(), relations.clone()
    support[:, 3], support[:, :, 2:], relations[:, 3] = torch.nan, torch.nan, torch.nan
    mask = torch.ones(B, N, K, dtype=torch.bool)
    mask[:, :, 2:] = False
    classes = torch.tensor([[True, True, True, False]] * B)
    logits = method(
        support, query, support_mask=mask, class_mask=classes, known=KNOWN.prototypes, relations=relations
    )
    torch.testing.assert_close(logits[..., :3], expected, **close)
    assert (logits[..., 3] == -torch.inf).all()


@pytest.mark.parametrize("name", ["known-calibration", "kernel-regression"])
def test_without_relations_they_are_nearest_means(name, given):
    support, query, _ = given
    expected = prototypes(support, query, scale=10.0)
    torch.testing.assert_close(CALLS[name](support, query), expected, **close)
    nothing = torch.full((N, C), torch.nan)
    unknown = CALLS[name](support, query, known=KNOWN.prototypes, relations=nothing)
    torch.testing.assert_close(unknown, expected, **close)


def test_known_without_relations_is_refused(given):
    support, query, _ = given
    with pytest.raises(InputError, match="known, relations: expected both or neither"):
        known_calibration(support, query, known=KNOWN.prototypes)


def test_edges_are_a_softmax_of_standardised_rows(given):
    relations = given[2]
    rows = relations - relations.mean(-1, keepdim=True)
    spread = rows.square().mean((1, 2), keepdim=True).sqrt()
    torch.testing.assert_close(edges(relations, 2.0), (2 * rows / spread).softmax(-1))


def test_a_hidden_known_class_is_not_listened_to(given):
    relations = given[2].clone()
    relations[:, 0, 3] = torch.nan
    found = edges(relations)
    assert (found[:, 0, 3] == 0).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(B, N))


def test_calibration_by_hand(given):
    support, query, relations = given
    own = normalize(support, dim=-1).mean(2)
    moved = 0.5 * own + 0.5 * edges(relations) @ KNOWN.prototypes
    expected = 10 * normalize(query, dim=-1) @ normalize(moved, dim=-1).mT
    found = known_calibration(support, query, known=KNOWN.prototypes, relations=relations)
    torch.testing.assert_close(found, expected)


def test_relations_alone_look_at_no_support(given):
    support, query, relations = given
    known = {"known": KNOWN.prototypes, "relations": relations}
    alone = known_classes_alone(torch.full_like(support, torch.nan), query, **known)
    assert torch.equal(alone, known_classes_alone(support, query, **known))


def test_the_process_is_scikit_learns():
    """The kernel of the relations as scikit-learn has it, fitted to the same targets."""

    t, noise = 1.0, 0.1
    among = (AMONG / AMONG.std()).double()
    weights, error = _leave_one_out(among, KNOWN.prototypes.double(), t, noise)
    kernel = (t * (among - among.max())).exp()
    expected = torch.linalg.solve(kernel + noise * torch.eye(C).double(), KNOWN.prototypes.double())
    torch.testing.assert_close(weights, expected)
    # A precomputed kernel is a linear one on its Cholesky factors.
    factors = torch.linalg.cholesky(kernel + 1e-9 * torch.eye(C)).numpy()
    linear = DotProduct(sigma_0=0.0, sigma_0_bounds="fixed")
    errors = []
    for c in range(C):
        others = [other for other in range(C) if other != c]
        process = GaussianProcessRegressor(linear, alpha=noise, optimizer=None)
        process.fit(factors[others], KNOWN.prototypes[others].double().numpy())
        predicted = torch.from_numpy(process.predict(factors[[c]]))[0]
        errors.append((predicted - KNOWN.prototypes[c].double()).square().sum())
    assert error == pytest.approx(torch.stack(errors).mean().item(), rel=1e-4)


def test_supports_and_prediction_have_their_closed_form_weights(given):
    support, query, relations = given
    own, count = class_means(support)
    total = count * own + FITTED.ratio * FITTED.predict(KNOWN.prototypes, relations)
    expected = 10 * normalize(query, dim=-1) @ normalize(total, dim=-1).mT
    torch.testing.assert_close(FITTED(support, query, known=KNOWN.prototypes, relations=relations), expected)
    assert FITTED.ratio > 0


def test_tight_classes_leave_no_weight_to_relations_and_good_relations_more():
    tight = FeatureSet(
        KNOWN.prototypes.repeat_interleave(5, 0), torch.arange(C).repeat_interleave(5), TRAIN.class_names
    )
    assert KernelRegression.fit(tight, KNOWN.prototypes, AMONG).ratio < 1e-6
    noise = torch.randn(C, C, generator=torch.Generator().manual_seed(3))
    false = KernelRegression.fit(TRAIN, KNOWN.prototypes, noise + noise.T + 9 * torch.eye(C))
    assert false.ratio < FITTED.ratio


def test_other_known_classes_than_those_fitted_are_refused(given):
    support, query, relations = given
    others = normalize(torch.randn(C, D), dim=-1)
    with pytest.raises(InputError, match="known: expected the known classes that the method was fitted to"):
        FITTED(support, query, known=others, relations=relations)


def test_own_classes_are_hidden_in_training():
    classes = torch.tensor([[3, 1], [0, 9]])
    rows = hide_own(AMONG, classes)
    assert rows[0, 0].isnan().nonzero().flatten().tolist() == [1, 3]
    assert rows[1, 1].isnan().nonzero().flatten().tolist() == [0, 9]
    assert rows[0, 0, 2] == AMONG[3, 2]


def test_the_mixture_learns_its_weight_from_known_classes():
    """Single supports are noisy, and the known classes of a class's group lie where it lies."""
    generator = torch.Generator().manual_seed(0)
    groups = 3 * torch.randn(4, D, generator=generator)
    centres = groups.repeat_interleave(5, 0) + 0.2 * torch.randn(20, D, generator=generator)
    points = centres[:, None] + 4 * torch.randn(20, 20, D, generator=generator)
    labels = torch.arange(20).repeat_interleave(20)
    train = FeatureSet(points.flatten(0, 1), labels, tuple(map(str, range(20))))
    known = KnownClasses.fit(train.items, train.labels, tuple(map(str, range(19, -1, -1))))
    known = KnownClasses(known.prototypes.flip(0), known.names)  # in another order than the features
    group = (19 - torch.arange(20)) // 5
    relations = (group[:, None] == group).float()
    material = Material(
        way=5, shot=1, query=5, seed=0, graph=torch.nn.Identity(), train=train, known=known,
        known_relations=relations,
    )  # fmt: skip
    method = make_mixture(material)
    # New classes of the same groups: a class listens to its group, and leaves its one support behind.
    new = groups.repeat_interleave(2, 0) + 0.2 * torch.randn(8, D, generator=generator)
    items = (new[:, None] + 4 * torch.randn(8, 20, D, generator=generator)).flatten(0, 1)
    data = FeatureSet(items, torch.arange(8).repeat_interleave(20), tuple("abcdefgh"))
    episode = next(iter(EpisodeSampler(data, way=4, shot=1, query=5, batch=100)))
    rows = (torch.arange(4).repeat_interleave(2)[:, None] == group).float()[episode.classes]
    options = {"known": known.prototypes, "relations": rows}

    def loss(logits):
        return cross_entropy(logits.flatten(0, 1), episode.query_labels.flatten())

    with torch.no_grad():
        found = loss(method(episode.support, episode.query, **options))
        start = loss(Mixture()(episode.support, episode.query, **options))
        without = loss(prototypes(episode.support, episode.query))
    assert found < start < without


def test_the_mixture_needs_features_of_the_known_classes():
    material = Material(way=5, shot=1, query=5, seed=0, graph=torch.nn.Identity(), train=TRAIN)
    with pytest.raises(InputError, match="mixture expected known classes and their features, got none"):
        make_mixture(material)
    other = KnownClasses(torch.eye(D), tuple("abcdefgh"))
    material = Material(
        way=5, shot=1, query=5, seed=0, graph=torch.nn.Identity(), train=TRAIN, known=other,
        known_relations=torch.eye(D),
    )  # fmt: skip
    with pytest.raises(InputError, match="mixture expected features of the known classes"):
        make_mixture(material)


def test_messages_are_zero_without_relations():
    assert messages(None, None, torch.ones(2, 3, 4)).equal(torch.zeros(2, 3, 4))
