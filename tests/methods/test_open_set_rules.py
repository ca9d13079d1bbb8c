"""Rules for "none of these": their formulas by plain loops, padding, and batches."""

import math
from functools import partial

import pytest
import torch
from torch.nn.functional import normalize

from fewshot.methods.eol import eol
from fewshot.methods.feat import FEAT
from fewshot.methods.ostim import ostim
from fewshot.methods.prototypes import prototypes
from fewshot.methods.rejection import energy, largest_cosine, largest_probability
from fewshot.methods.shared.nodes import unit_variance
from fewshot.methods.snatcher import SnaTCHer

B, N, K, M, D = 3, 4, 5, 11, 8  # of the fixture `episode`
close = {"atol": 1e-6, "rtol": 1e-6}
JOINT = {"ostim": partial(ostim, steps=20), "eol": partial(eol, steps=20)}
ALONE = {"probability": largest_probability, "cosine": largest_cosine, "energy": energy}


@pytest.fixture
def snatcher(lively):
    torch.manual_seed(0)
    return SnaTCHer(lively(FEAT(D, heads=2))).eval()


@pytest.fixture(params=[*JOINT, *ALONE, "snatcher"])
def rule(request, snatcher):
    return snatcher if request.param == "snatcher" else (JOINT | ALONE)[request.param]


@torch.no_grad()
def test_a_batch_equals_one_by_one(rule, episode):
    support, query = episode
    whole = rule(support, query)
    assert whole.logits.shape == (B, M, N)
    assert whole.unknown.shape == (B, M)
    for b in range(B):
        alone = rule(support[b : b + 1], query[b : b + 1])
        torch.testing.assert_close(whole.logits[b], alone.logits[0], **close)
        torch.testing.assert_close(whole.unknown[b], alone.unknown[0], **close)


@torch.no_grad()
def test_padded_equals_unpadded(rule, episode):
    support, query = episode
    expected = rule(support[:, :3, :3], query[:, :9])
    support, query = support.clone(), query.clone()
    support[:, 3], support[:, :, 3:], query[:, 9:] = torch.nan, torch.nan, torch.nan
    masks = {
        "support_mask": (torch.arange(K) < 3).expand(B, N, K) & (torch.arange(N) < 3)[:, None],
        "class_mask": (torch.arange(N) < 3).expand(B, N),
        "query_mask": (torch.arange(M) < 9).expand(B, M),
    }
    found = rule(support, query, **masks)
    torch.testing.assert_close(found.logits[:, :9, :3], expected.logits, **close)
    torch.testing.assert_close(found.unknown[:, :9], expected.unknown, **close)
    assert (found.logits[..., 3] == -torch.inf).all()


@torch.no_grad()
def test_queries_and_classes_permuted(rule, episode):
    support, query = episode
    usual = rule(support, query)
    queries = torch.randperm(M, generator=torch.Generator().manual_seed(0))
    moved = rule(support, query[:, queries])
    torch.testing.assert_close(moved.unknown, usual.unknown[:, queries], **close)
    classes = torch.tensor([2, 0, 3, 1])
    moved = rule(support[:, classes], query)
    torch.testing.assert_close(moved.unknown, usual.unknown, **close)
    torch.testing.assert_close(moved.logits, usual.logits[..., classes], **close)


def test_scores_of_logits(episode):
    logits = prototypes(*episode, scale=10.0)
    p = logits.softmax(-1).amax(-1)
    torch.testing.assert_close(largest_probability(*episode).unknown, -p)
    torch.testing.assert_close(largest_cosine(*episode).unknown, -logits.amax(-1))
    torch.testing.assert_close(energy(*episode).unknown, -logits.exp().sum(-1).log())


def test_ostim_is_that_of_the_paper(episode):
    """One episode at a time, with losses as the paper writes them, by torch's optimiser."""
    support, query = episode
    for b in range(B):
        s, q = normalize(support[b].flatten(0, 1), dim=-1), normalize(query[b], dim=-1)
        y, centre = torch.arange(N).repeat_interleave(K), torch.cat([s, q]).mean(0)
        w = normalize(support[b], dim=-1).mean(1).requires_grad_()

        def logits(x, w=w, centre=centre):
            known = 10 * normalize(x - centre, dim=-1) @ normalize(w - centre, dim=-1).T
            return torch.cat([known, -known.mean(-1, keepdim=True)], -1)

        optimizer = torch.optim.Adam([w], 1e-3)
        for _ in range(20):
            p = logits(q).softmax(-1)
            mean = p.mean(0)
            loss = torch.nn.functional.cross_entropy(logits(s), y)
            loss = loss - 0.1 * (p * p.log()).sum(-1).mean() + (mean * mean.log()).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            expected = logits(q)
        found = ostim(support[b : b + 1], query[b : b + 1], steps=20)
        torch.testing.assert_close(found.logits[0], expected[:, :N], atol=1e-5, rtol=1e-5)
        odds = expected.softmax(-1)[:, N].logit()
        torch.testing.assert_close(found.unknown[0], odds, atol=1e-5, rtol=1e-5)


def test_eol_is_that_of_the_paper(episode):
    support, query = episode
    for b in range(B):
        s, q = normalize(support[b].flatten(0, 1), dim=-1), normalize(query[b], dim=-1)
        y = torch.arange(N).repeat_interleave(K)
        w = normalize(support[b], dim=-1).mean(1).requires_grad_()
        eta, delta = (torch.zeros(N, dtype=w.dtype, requires_grad=True) for _ in range(2))

        def parts(x, w=w, eta=eta, delta=delta):
            known = 10 * (eta.exp() * (normalize(x, dim=-1) @ normalize(w, dim=-1).T) + delta)
            outlier = torch.full((len(x), 1), math.log(2 * N), dtype=x.dtype)
            return known, torch.cat([known, outlier], -1).softmax(-1)

        optimizer = torch.optim.Adam([w, eta, delta], 0.01)
        for _ in range(20):
            p_s, p_q = parts(s)[1], parts(q)[1]
            inside, outside = 2 * K * p_q[:, :N].mean(0), 2 * p_q[:, N].mean()
            loss = -p_s[torch.arange(N * K), y].log().mean()
            loss = loss - (p_q[:, :N] * p_q[:, :N].log()).sum(-1).mean() / N
            loss = loss + (inside * inside.log()).mean() + outside * outside.log()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            every = torch.cat([s, q])
            p = parts(every)[1]
            refined = p[:, :N].T @ every / p[:, :N].sum(0)[:, None]
            expected = parts(q, w=refined)[0]
        found = eol(support[b : b + 1], query[b : b + 1], steps=20)
        torch.testing.assert_close(found.unknown[0], p[N * K :, N].logit(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.logits[0], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_snatcher_replaces_the_nearest_prototype_by_the_query(snatcher, episode):
    support, query = episode
    found = snatcher(support, query)
    feat = snatcher.feat
    torch.testing.assert_close(found.logits, feat(support, query))
    means = unit_variance(support).mean(2)
    for b in range(B):
        usual = feat.attention(means[b : b + 1])[0]
        for m in range(M):
            changed = means[b].clone()
            changed[found.logits[b, m].argmax()] = unit_variance(query[b, m])
            moved = feat.attention(changed[None])[0]
            torch.testing.assert_close(found.unknown[b, m], (moved - usual).square().sum())


@pytest.mark.parametrize("name", JOINT)
def test_strangers_far_from_all_classes_are_recognised(name):
    support = torch.eye(D)[None, :4, None]
    known = torch.eye(D)[:4].repeat_interleave(5, 0)
    strangers = torch.eye(D)[6:].repeat_interleave(5, 0)
    query = torch.cat([known, strangers])[None] + 0.05
    out = JOINT[name](support, query)
    assert out.unknown[0, 20:].min() > out.unknown[0, :20].max()
    assert out.logits[0, :20].argmax(-1).tolist() == torch.arange(4).repeat_interleave(5).tolist()
