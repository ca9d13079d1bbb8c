"""The rules for "none of these" to compare with: what each is, and what it may look at."""

from __future__ import annotations

from functools import partial

from fewshot.methods.catalogue import Method
from fewshot.methods.eol import eol
from fewshot.methods.ostim import ostim
from fewshot.methods.rejection import energy, largest_cosine, largest_probability
from fewshot.methods.shared.call import FewShotCall
from fewshot.methods.shared.material import Material
from fewshot.methods.snatcher import make_snatcher


def _ostim(material: Material) -> FewShotCall:
    """With its authors' steps: 200 for one shot, 50 from five shots on."""
    return partial(ostim, steps=50 if material.shot >= 5 else 200)


# Each returns its logits and, as `unknown`, a score of a query's being of no class.
RULES: tuple[Method, ...] = (
    Method(
        "largest-probability",
        "largest probability",
        "Hendrycks and Gimpel 2017",
        lambda material: material.transformed(largest_probability),
    ),
    Method(
        "largest-cosine",
        "largest cosine",
        "after Vaze et al. 2022",
        lambda material: material.transformed(largest_cosine),
    ),
    Method("energy", "energy", "Liu et al. 2020", lambda material: material.transformed(energy)),
    Method("snatcher-f", "SnaTCHer-F", "Jeong et al. 2021", make_snatcher, needs="base"),
    Method("ostim", "OSTIM", "Boudiaf et al. 2022", _ostim, ("joint",)),
    Method("eol", "EOL", "Ochal et al. 2024", lambda _: eol, ("joint",)),
    Method(
        "eol-transformed",
        "EOL, transformed",
        "after Ochal et al. 2024",
        lambda material: material.transformed(eol),
        ("joint",),
    ),
    Method(
        "class-graph",
        "class graph",
        "this package",
        lambda material: material.graph,
        ("inductive", "joint"),
        relations="may",
    ),
)
