"""The methods to compare with, by name: what each is, what it may look at, and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from fewshot.core.errors import InputError
from fewshot.methods.alpha_tim import alpha_tim
from fewshot.methods.anil import make_anil
from fewshot.methods.bd_cspn import bd_cspn
from fewshot.methods.egnn import make_egnn
from fewshot.methods.feat import make_feat
from fewshot.methods.gnn import make_gnn
from fewshot.methods.kernel_regression import make_kernel_regression
from fewshot.methods.known_calibration import known_calibration, known_classes_alone
from fewshot.methods.label_propagation import label_propagation
from fewshot.methods.laplacian_shot import laplacian_shot
from fewshot.methods.logistic_regression import logistic_regression
from fewshot.methods.maml import make_maml
from fewshot.methods.matching import matching
from fewshot.methods.mixture import make_mixture
from fewshot.methods.nearest_centroid import nearest_centroid
from fewshot.methods.niw import NIW
from fewshot.methods.prototypes import prototypes
from fewshot.methods.pt_map import pt_map
from fewshot.methods.shared.call import FewShotCall
from fewshot.methods.shared.material import Material
from fewshot.methods.simpleshot import simpleshot
from fewshot.methods.tim import tim

Needs = Literal["features", "base", "known", "images"]
Takes = Literal["no", "may", "must"]


@dataclass(frozen=True)
class Method:
    """A method of the comparison.

    Args:
        name: on the command line.
        title, paper: for tables.
        make: from a `Material` to its call, see `FewShotCall`.
        modes: what it looks at, names of `fewshot.core.modes.Mode`: each query on its own ("inductive"), all
            queries together ("joint"), or with their classes' shares known ("joint-known").
        needs: "features" of the episode alone, "base" features to learn from, those of the "known" classes,
            or "images".
        relations: whether it looks at relations to known classes: "no", it "may" (then it is scored without
            and with them), or it "must".
    """

    name: str
    title: str
    paper: str
    make: Callable[[Material], FewShotCall]
    modes: tuple[str, ...] = ("inductive",)
    needs: Needs = "features"
    relations: Takes = "no"

    def prepare(self, material: Material, announce: Callable[[str], None]) -> FewShotCall:
        """Its call; if it learns from more than the episode, that is announced in one line before.

        The lines that the material's ``tell`` is called with while it learns begin with its name.

        Args:
            material: what it may learn from.
            announce: called with that line.

        >>> from fewshot.graph.class_graph import ClassGraph
        >>> material = Material(way=5, shot=1, query=15, seed=0, graph=ClassGraph(), tell=print)
        >>> def learn(material):
        ...     material.tell("step 1 of 1")
        ...     return prototypes
        >>> Method("mine", "", "", learn, needs="base").prepare(material, print) is prototypes
        mine: learning
        mine: step 1 of 1
        True
        """
        if self.needs != "features":
            announce(f"{self.name}: learning")
        return self.make(replace(material, tell=lambda text: material.tell(f"{self.name}: {text}")))


def _prototypes(material: Material) -> FewShotCall:
    return partial(prototypes, scale=material.scale)


def _niw(material: Material) -> NIW:
    assert material.train is not None  # as it needs base features
    return NIW.fit(material.train)


def _pt_map(material: Material) -> FewShotCall:
    """On uncentred features, as its power transform requires."""
    mean = material.base_mean
    if mean is None:
        return pt_map
    return lambda support, query, **options: pt_map(support + mean, query + mean, **options)


def _alpha_tim(material: Material) -> FewShotCall:
    """With its authors' alpha: 2 for one shot, 7 from five shots on."""
    return partial(alpha_tim, alpha=7.0 if material.shot >= 5 else 2.0)


# A method that assumes equally many queries per class is given the classes' shares: its mode is joint-known.
METHODS: tuple[Method, ...] = (
    Method("prototypes", "ProtoNet", "Snell et al. 2017", _prototypes),
    Method(
        "transformed",
        "ProtoNet, transformed",
        "after Hu et al. 2021",
        lambda material: material.transformed(_prototypes(material)),
    ),
    Method("simpleshot", "SimpleShot", "Wang et al. 2019", lambda _: simpleshot),
    Method("nearest-centroid", "nearest centroid", "Tibshirani et al. 2002", lambda _: nearest_centroid),
    Method("logistic-regression", "logistic regression", "Tian et al. 2020", lambda _: logistic_regression),
    Method("matching", "MatchingNet", "Vinyals et al. 2016", lambda _: matching),
    Method("niw", "NIW", "after Kim and Hospedales 2023", _niw, needs="base"),
    Method("feat", "FEAT", "Ye et al. 2020", make_feat, needs="base"),
    Method("gnn", "GNN", "Garcia and Bruna 2018", make_gnn, needs="base"),
    Method("egnn", "EGNN", "Kim et al. 2019", make_egnn, ("inductive", "joint"), needs="base"),
    Method("maml", "MAML", "Finn et al. 2017", make_maml, needs="images"),
    Method("anil", "ANIL", "Raghu et al. 2020", make_anil, needs="images"),
    Method(
        "label-propagation",
        "label propagation",
        "after TPN, Liu et al. 2019",
        lambda _: label_propagation,
        ("joint",),
    ),
    Method("bd-cspn", "BD-CSPN", "Liu et al. 2020", lambda _: bd_cspn, ("joint",)),
    Method("laplacian-shot", "LaplacianShot", "Ziko et al. 2020", lambda _: laplacian_shot, ("joint",)),
    Method("tim", "TIM", "Boudiaf et al. 2020", lambda _: tim, ("joint-known",)),
    Method("alpha-tim", "α-TIM", "Veilleux et al. 2021", _alpha_tim, ("joint",)),
    Method("pt-map", "PT-MAP", "Hu et al. 2021", _pt_map, ("joint-known",)),
    Method(
        "class-graph",
        "class graph",
        "this package",
        lambda material: material.graph,
        ("inductive", "joint", "joint-known"),
        relations="may",
    ),
    Method(
        "known-calibration",
        "nearest known classes",
        "after TEEN, Wang et al. 2023",
        lambda material: material.transformed(known_calibration),
        relations="must",
    ),
    Method(
        "kernel-regression",
        "kernel regression",
        "Gaussian process, Rasmussen and Williams 2006",
        make_kernel_regression,
        needs="base",
        relations="must",
    ),
    Method(
        "mixture",
        "learned mixture",
        "after AM3, Xing et al. 2019",
        make_mixture,
        needs="known",
        relations="must",
    ),
    Method(
        "zero-shot",
        "relations alone",
        "after ConSE, Norouzi et al. 2014",
        lambda material: material.transformed(known_classes_alone),
        relations="must",
    ),
)


def find(names: str | None) -> list[Method]:
    """The methods of a comma-separated list of names; None means all of them.

    Raises:
        InputError: an unknown name.

    >>> [method.title for method in find("class-graph,prototypes")]
    ['class graph', 'ProtoNet']
    """
    if names is None:
        return list(METHODS)
    known = {method.name: method for method in METHODS}
    for name in names.split(","):
        if name not in known:
            raise InputError(
                f"methods: expected any of {', '.join(known)}, got {name!r} (your own is FILE.py:NAME)"
            )
    return [known[name] for name in names.split(",")]
