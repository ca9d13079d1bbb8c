"""FEAT: its attention against torch's, its contrast against the paper's formula."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, log_softmax

from fewshot.methods.feat import FEAT, SetAttention
from fewshot.methods.prototypes import prototypes


@pytest.fixture
def feat():
    torch.manual_seed(0)
    return FEAT(features=8, heads=2).eval().double()


def test_one_head_equals_torchs_attention():
    torch.manual_seed(0)
    ours, x = SetAttention(8).eval(), torch.randn(2, 5, 8)
    theirs = nn.MultiheadAttention(8, 1, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    heard = theirs(x, x, x)[0]
    torch.testing.assert_close(ours(x), ours.norm(x + heard))


def test_two_heads_equal_the_formula_in_a_loop():
    torch.manual_seed(0)
    ours, x = SetAttention(8, heads=2).eval().double(), torch.randn(5, 8, dtype=torch.float64)
    heads = []
    for h in range(2):
        rows = slice(8 * h, 8 * h + 8)
        q, k, v = (x @ layer.weight[rows].T for layer in (ours.query, ours.key, ours.value))
        heads.append(torch.stack([((k @ q[i]) / 8**0.5).softmax(0) @ v for i in range(5)]))
    y = x + torch.cat(heads, 1) @ ours.out.weight.T + ours.out.bias
    expected = (y - y.mean(1, keepdim=True)) / (y.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(ours(x[None])[0], expected)


def test_without_attention_it_is_prototypes_of_vectors_without_their_mean(feat, episode):
    support, query = episode
    nn.init.zeros_(feat.attention.out.weight)
    nn.init.zeros_(feat.attention.out.bias)
    support = support - support.mean(-1, keepdim=True)  # what layer norm does
    expected = prototypes(support, query, scale=10.0)
    torch.testing.assert_close(feat(support, query), expected, atol=1e-3, rtol=1e-3)


def test_contrast_equals_the_papers_formula(feat, episode):
    support, query = episode
    labels = torch.tensor([[0, 3, 1, 1, 2, 3, 0, 2, 2, 1, 0]] * 3)
    total = []
    for b in range(3):
        images = nn.functional.normalize(torch.cat([support[b].flatten(0, 1), query[b]]), dim=-1) * 8**0.5
        classes = torch.cat([torch.arange(4).repeat_interleave(5), labels[b]])
        centres = torch.stack(
            [feat.attention(images[classes == c][None])[0].mean(0) for c in range(4)]
        )  # each class a set of its own
        for image, c in zip(images, classes, strict=True):
            total.append(-log_softmax(cosine_similarity(image[None], centres) / 0.1, dim=0)[c])
    torch.testing.assert_close(feat.contrast(support, query, labels), torch.stack(total).mean())
    loss, logits = feat.losses(support, query, labels)
    own = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(loss, own + 0.1 * torch.stack(total).mean())


def test_prototypes_depend_on_the_other_classes(feat, episode):
    support, query = episode
    moved = support.clone()
    moved[:, 3] += 1
    assert not torch.allclose(feat(moved, query)[..., :3], feat(support, query)[..., :3], atol=1e-3)
