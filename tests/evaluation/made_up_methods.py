"""Methods that need images or base classes, or look at all queries together."""

from fewshot.methods.catalogue import Method
from fewshot.methods.prototypes import prototypes


def pixels(support, query, **_):
    """Prototypes of pixels."""
    return prototypes(support.flatten(3).float(), query.flatten(2).float())


def nearest_base_class(material):
    """Adds to the features their largest cosine to a base class, for no good reason."""
    base = material.train.items[:50]

    def call(support, query, **_):
        return prototypes(support @ base.T, query @ base.T)

    return call


def of_all_queries(support, query, **_):
    centre = query.mean(1, keepdim=True)
    return prototypes(support - centre[:, None], query - centre)


IMAGES = Method("pixels", "pixels", "nobody", lambda material: pixels, needs="images")
BASE = Method("base", "base", "nobody", nearest_base_class, needs="base")
JOINT = Method(
    "queries", "queries", "nobody", lambda material: of_all_queries, modes=("joint", "joint-known")
)
