"""A method of one's own: from a function or a file to a row, and what is said of mistakes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fewshot.core.errors import InputError
from fewshot.evaluation.inputs import made_up_data
from fewshot.methods.own import find, load, own_method
from fewshot.methods.prototypes import prototypes

FILE = """
import helper
import torch


def median(support, query, **_):
    return -torch.cdist(query, support.median(2).values)


def bare(support, query):
    return -torch.cdist(query, support.mean(2))


def prototypes(support, query, **_):
    return helper.zero(support, query)


class Based:
    needs, modes, title = "base", ("inductive", "joint"), "based on the base"

    def __init__(self, material):
        self.mean = material.train.mean()

    def __call__(self, support, query, *, joint=False, **_):
        return -torch.cdist(query - self.mean, support.mean(2))


def broken(support, query, **_):
    return query @ support


def wrong(support, query, **_):
    return query


"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text(
        "def zero(support, query):\n    return query.new_zeros(*query.shape[:2], support.shape[1])\n"
    )
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


@pytest.fixture
def material():
    data = made_up_data()
    sampler = data.sampler("test", shot=2, query=3, episodes=4)
    return data.material(sampler, "test", base=True), next(iter(sampler))


def test_a_function_of_a_file_is_what_it_computes(file, material) -> None:
    material, episode = material
    method = load(f"{file}:median")
    assert (method.name, method.title, method.modes, method.needs, method.relations) == (
        "median", "median", ("inductive",), "features", "no",
    )  # fmt: skip
    found = method.make(material)(episode.support, episode.query, joint=False, support_mask=None)
    expected = -torch.cdist(episode.query, episode.support.median(2).values)
    torch.testing.assert_close(found, expected)


def test_a_class_is_made_of_the_material_if_it_needs_more(file, material) -> None:
    material, episode = material
    method = load(f"{file}:Based")
    assert (method.title, method.modes, method.needs) == (
        "based on the base", ("inductive", "joint"), "base",
    )  # fmt: skip
    found = method.make(material)(episode.support, episode.query, joint=True)
    expected = -torch.cdist(episode.query - material.train.mean(), episode.support.mean(2))
    torch.testing.assert_close(found, expected)


def test_options_that_say_nothing_are_left_out_and_others_are_refused(file, material) -> None:
    material, episode = material
    call = load(f"{file}:bare").make(material)
    nothing = {"joint": True, "support_mask": None, "proportions": None}
    torch.testing.assert_close(
        call(episode.support, episode.query, **nothing), call(episode.support, episode.query)
    )
    with pytest.raises(InputError, match="bare: expected a call that takes class_mask, got one without"):
        call(episode.support, episode.query, class_mask=torch.ones(4, 5, dtype=torch.bool))


def test_modules_and_objects_are_methods_too(material) -> None:
    material, episode = material

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, support, query, **_):
            return self.scale * prototypes(support, query)

    found = own_method(Scaled()).make(material)(episode.support, episode.query)
    torch.testing.assert_close(found, 2 * prototypes(episode.support, episode.query))
    assert own_method(Scaled()).name == own_method(Scaled).name == "Scaled"
    assert own_method(Scaled).make(material)(episode.support, episode.query).equal(found)


def test_names_of_the_catalogue_stay_its_own(file) -> None:
    spec = f"{file}:prototypes"
    names = [method.name for method in find(f"prototypes,{spec},{file}:median")]
    assert names == ["prototypes", spec, "median"]
    assert [method.name for method in find(["tim", np.median])] == ["tim", "median"]
    with pytest.raises(InputError, match="expected different names, got 'median' twice"):
        find([np.median, torch.median])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mine.py:broken", r"broken failed: RuntimeError: .* \(mine.py, line 29\)"),
        ("mine.py:wrong", r"wrong: expected logits \[B, M, N\] = \[4, 15, 5\], a tensor, got \[4, 15, "),
        ("mine.py:medain", r"expected a function or class 'medain' in .*mine.py, got none \(did you mean"),
        ("mine.py:helper", "expected helper to be a function or class, got module"),
        ("none.py:f", "methods: expected a file, got .*none.py, which does not exist"),
        ("syntax.py:f", r"syntax.py cannot be run: SyntaxError: .*syntax.py, line 1\)"),
        ("raises.py:f", r"raises.py cannot be run: ZeroDivisionError: division by zero \(raises.py, line 2"),
        ("mode.py:f", "f.modes: expected any of inductive, joint, joint-known, got 'transductive'"),
        ("needs.py:f", "f.needs: expected any of features, base, known, images, got 'everything'"),
    ],
)
def test_what_is_wrong_is_one_line(file, material, spec: str, message: str) -> None:
    folder = file.parent
    (folder / "syntax.py").write_text("def f(:\n")
    (folder / "raises.py").write_text("def f(): ...\n1 / 0\n")
    (folder / "mode.py").write_text("def f(): ...\nf.modes = 'transductive'\n")
    (folder / "needs.py").write_text("def f(): ...\nf.needs = 'everything'\n")
    material, episode = material
    with pytest.raises(InputError, match=message) as caught:
        load(f"{folder}/{spec}").make(material)(episode.support, episode.query)
    assert "\n" not in str(caught.value)
