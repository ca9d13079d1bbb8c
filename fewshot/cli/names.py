"""`fewshot names`."""

from __future__ import annotations

from pathlib import Path

from fewshot.cli.output import print_table


def names(folder: Path, *, model: str | None = None) -> None:
    """Show what the name of each class folder is taken for in WordNet.

    A names.csv in the folder overrides what is found: columns class, and name, wnid or path.

    Example: fewshot names photos/

    Args:
        folder: With one folder per class, which may be empty.
        model: A checkpoint or a ready model (imagenet), to choose senses by what the classes look like, too.
    """
    from fewshot.core.class_names import Meaning
    from fewshot.model.folder_relations import folder_relations, own_table
    from fewshot.model.image_files import class_folders
    from fewshot.model.names import meanings

    if model is None:
        classes = [home.name for home in class_folders(folder)]
        found = meanings(classes, table=own_table(folder, classes)[1])
    else:
        from fewshot.evaluation.inputs import load_model
        from fewshot.model.folder_supports import class_prototypes
        from fewshot.model.image_files import cache_for, encode_support, support_files

        loaded, files = load_model(model), support_files(folder, zero_shot=True)
        features, mask = encode_support(loaded, files, cache_for(loaded))
        looks = class_prototypes(loaded, features, mask)
        related = folder_relations("names", folder, list(files), loaded.known, looks)
        given = {} if related is None else related.meanings
        found = {name: given.get(name, Meaning()) for name in files}
    rows = [
        (
            name,
            meaning.phrase or "not found",
            meaning.wnid,
            "a guess, by a part of the name" if meaning.guess else "",
            meaning.senses or "",
            "/".join(meaning.path),
        )
        for name, meaning in found.items()
    ]
    print_table(("class", "taken for", "wnid", "remark", "senses", "path"), rows)
