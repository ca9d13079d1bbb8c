"""A line where joint inference costs accuracy, and none where it does not."""

from fewshot.evaluation.inputs import made_up_data
from fewshot.evaluation.joint_check import joint_below
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.methods.prototypes import prototypes


def test_only_what_is_clearly_below_is_named() -> None:
    data = made_up_data()
    sampler = data.sampler("test", shot=2, query=4, episodes=40)

    def score(predict, mode: str, method: str = "mine"):
        return evaluate(predict, sampler, method=method, mode=mode)

    good, bad = as_predict(prototypes), as_predict(lambda support, query, **_: -prototypes(support, query))
    plain, harmful, equal = score(good, "inductive"), score(bad, "joint"), score(good, "joint-known")
    [line] = joint_below([plain, harmful, equal])
    above = plain.accuracy - harmful.accuracy
    assert line.startswith(f"mine: joint is below inductive on these episodes by {above:.2f} ± ")
    assert joint_below([equal, plain]) == []
    assert joint_below([harmful, score(good, "inductive", "another")]) == []
