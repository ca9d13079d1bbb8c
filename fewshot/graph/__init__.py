"""The class graph, one operator per file: from features to logits."""

from fewshot.core.lazy import face

__getattr__, __dir__ = face(
    __name__,
    {
        "ClassGraph": "fewshot.graph.class_graph",
        "ClassGraphConv": "fewshot.graph.conv",
        "Edges": "fewshot.graph.edges",
        "Gallery": "fewshot.graph.gallery",
        "KnownClasses": "fewshot.graph.known_classes",
        "GraphOutput": "fewshot.graph.class_graph",
        "PowerTransform": "fewshot.graph.transform",
        "PrototypeHead": "fewshot.graph.head",
        "Transformed": "fewshot.graph.transform",
        "Why": "fewshot.graph.why",
    },
)
