import signal
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from fewshot.core.errors import InputError
from fewshot.core.loop import Stage, fit


class Line(nn.Module):
    """Fits y = a·x to targets with a = 3."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        loss = ((self.a - 3) * x).square().mean()
        return loss, (loss < 0.01).float()


class Notes:
    """A recorder in memory; `at` is called at each step."""

    def __init__(self, at=lambda step: None):
        self.rows, self.states, self.at = [], [], at

    def log(self, row):
        self.rows.append(row)

    def progress(self, stage, step):
        self.at(step)

    def save(self, stage, state):
        # Copied, as a file would be: the tensors of a saved state must not change later.
        self.states.append(
            torch.utils._pytree.tree_map(lambda x: x.clone() if torch.is_tensor(x) else x, state)
        )


@pytest.fixture(scope="module")
def fabric():
    return Fabric(accelerator="cpu", devices=1)


def line(steps=20, lr=0.1, validate=None, seed=0):
    module = Line()

    def batches(start):
        every = ((torch.randn(4, generator=torch.Generator().manual_seed(seed + s)),) for s in range(steps))
        return islice(every, start, None)

    return Stage(
        name="line",
        module=module,
        batches=batches,
        steps=steps,
        optimizer=torch.optim.AdamW(module.parameters(), lr, weight_decay=0),
        warmup=0.2,
        validate=validate or (lambda: {"val_accuracy": -abs(module.a.item() - 3)}),
        validate_every=5,
        rate=(4, "points"),
    )


def test_learns(fabric):
    stage = line(steps=100, lr=0.3)
    fit(stage, fabric, Notes())
    assert stage.module.a.item() == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("cut", [1, 5, 13, 19])
def test_resuming_from_a_saved_state_ends_the_same(fabric, cut):
    whole, notes = line(), Notes()
    fit(whole, fabric, notes)

    def stop(step):
        if step == cut:
            signal.raise_signal(signal.SIGINT)

    halves = Notes(at=stop)
    with pytest.raises(KeyboardInterrupt):
        fit(line(), fabric, halves)
    assert halves.states[-1]["step"] == cut
    resumed = line()
    halves.at = lambda step: None
    fit(resumed, fabric, halves, halves.states[-1])
    assert torch.equal(resumed.module.a, whole.module.a)
    assert halves.rows == notes.rows


def test_states_are_saved_by_the_clock(fabric):
    notes = Notes()
    fit(line(steps=4), fabric, notes, save_every=0.0)
    assert [state["step"] for state in notes.states] == [1, 2, 3, 4]
    notes = Notes()
    fit(line(steps=4), fabric, notes, save_every=1e9)
    assert notes.states == []


def test_ends_with_the_weights_that_were_best(fabric):
    scores = iter([10.0, 30.0, 20.0, 30.0, 5.0])
    seen = []

    def validate():
        seen.append(stage.module.a.item())
        return {"val_accuracy": next(scores)}

    stage = line(validate=validate)
    fit(stage, fabric, Notes())
    assert len(seen) == 5
    assert stage.module.a.item() == seen[1]  # the first of the two best


def test_what_is_kept_is_the_module_as_it_is_validated(fabric):
    plain, notes = line(), Notes()
    fit(plain, fabric, notes)
    stage, seen = line(), []
    stage.module.register_buffer("statistic", torch.zeros(()))

    @contextmanager
    def calibrated():
        stage.module.statistic += 1
        yield
        seen.append(stage.module.statistic.item())
        stage.module.statistic.zero_()

    again = Notes()
    fit(replace(stage, calibrated=calibrated), fabric, again)
    assert seen == [1.0] * 5  # the start and every fifth of 20 steps
    assert stage.module.statistic == 1.0
    assert torch.equal(stage.module.a, plain.module.a)  # nothing of it is left for training
    assert again.rows == notes.rows


def test_the_weights_before_the_first_step_count_too(fabric):
    scores = iter([50.0, 1.0, 1.0, 1.0, 1.0])
    stage = line(validate=lambda: {"val_accuracy": next(scores)})
    fit(stage, fabric, Notes())
    assert stage.module.a.item() == 0.0


def test_the_rate_is_one_cycle(fabric):
    notes = Notes()
    fit(line(steps=20, lr=0.5), fabric, notes)
    rates = [row["lr"] for row in notes.rows if "lr" in row]
    assert max(rates) == pytest.approx(0.5)
    assert rates.index(max(rates)) == 0.2 * 20 - 1
    assert rates[0] == pytest.approx(0.5 / 25)
    assert rates[-1] < 1e-3 * 0.5


def test_a_loss_that_is_not_finite_is_reported(fabric):
    stage = line(lr=1e30)
    with pytest.raises(InputError, match=r"line\.lr: the loss became (inf|nan) by step \d+"):
        fit(stage, fabric, Notes())


def test_weights_that_cannot_be_validated_are_reported(fabric):
    calls = []

    def validate():
        calls.append(1)
        if len(calls) > 1:  # as logits that are nan do
            raise InputError("validation: expected logits that are numbers, got nan")
        return {"val_accuracy": 0.0}

    stage = line(steps=300, lr=1e30, validate=validate)
    with pytest.raises(InputError, match=r"line\.lr: by step 1, validation: .* nan; a lower one may help"):
        fit(replace(stage, validate_every=1), fabric, Notes())


def test_sigint_means_what_it_meant_before(fabric):
    before = signal.getsignal(signal.SIGINT)
    fit(line(steps=2), fabric, Notes())
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_sigint_acts_at_once(fabric):
    notes = Notes(at=lambda step: (signal.raise_signal(signal.SIGINT), signal.raise_signal(signal.SIGINT)))
    with pytest.raises(KeyboardInterrupt):
        fit(line(), fabric, notes)
    assert notes.states == []
