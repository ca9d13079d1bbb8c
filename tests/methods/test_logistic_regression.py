"""Logistic regression: what scikit-learn fits, and that it is the optimum."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from fewshot.core.errors import InputError
from fewshot.methods.logistic_regression import logistic_regression


@pytest.mark.parametrize("C", [1.0, 30.0])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_equals_scikit_learn(episode, n, C):
    support, query = episode[0][:, :n], episode[1]
    logits = logistic_regression(support, query, C=C)
    labels = np.arange(n).repeat(5)
    for b in range(3):
        rule = LogisticRegression(C=C).fit(normalize(support[b].flatten(0, 1).numpy()), labels)
        expected = rule.predict_log_proba(normalize(query[b].numpy()))
        torch.testing.assert_close(logits[b], torch.from_numpy(expected), atol=1e-4, rtol=1e-4)


def test_is_the_optimum_of_the_documented_objective(episode):
    support, query = episode
    x = torch.nn.functional.normalize(support[0].flatten(0, 1), dim=-1)
    labels = torch.arange(4).repeat_interleave(5)
    weights = torch.zeros(4, 9, dtype=torch.float64, requires_grad=True)  # the last column is the bias
    optimizer = torch.optim.LBFGS([weights], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        logits = x @ weights[:, :-1].T + weights[:, -1]
        objective = (
            weights[:, :-1].square().sum() / 2 - logits.log_softmax(1).gather(1, labels[:, None]).sum()
        )
        objective.backward()
        return objective

    optimizer.step(loss)
    q = torch.nn.functional.normalize(query[0], dim=-1)
    expected = (q @ weights[:, :-1].T + weights[:, -1]).log_softmax(dim=-1).detach()
    torch.testing.assert_close(logistic_regression(support, query)[0], expected, atol=2e-3, rtol=1e-3)


def test_a_class_without_supports_is_out_and_a_single_one_is_certain(episode):
    support, query = episode[0][:, :3], episode[1]
    there = torch.ones(3, 3, 5, dtype=torch.bool)
    there[0, 1] = False
    there[1, 1:] = False
    logits = logistic_regression(support, query, support_mask=there)
    assert (logits[0, :, 1] == -torch.inf).all()
    torch.testing.assert_close(
        logits[0][:, [0, 2]], logistic_regression(support[:1, [0, 2]], query[:1])[0], atol=1e-4, rtol=1e-4
    )
    assert (logits[1] == torch.tensor([0.0, -torch.inf, -torch.inf])).all()


def test_refuses_a_c_that_is_not_above_0(episode):
    with pytest.raises(InputError, match=r"^C: expected a number above 0, got -1"):
        logistic_regression(*episode, C=-1.0)
