"""`fewshot suggest`: what to check and what to label next."""

from __future__ import annotations

from pathlib import Path

from fewshot.cli.files import OutputFile, check_outputs, read_of_source, read_of_support
from fewshot.cli.output import print_table
from fewshot.core.files import write_csv


def suggest(
    checkpoint: str,
    *,
    support: Path,
    pool: list[Path],
    count: int = 20,
    relations: str = "names",
    csv: OutputFile | None = None,
) -> None:
    """Say which support labels look wrong, and which images of a pool to label next.

    Labels are judged by the other supports of all classes, so a class needs two at least. The images to label
    are typical ones that no support resembles, and different from each other; label them in their order.

    Example: fewshot suggest runs/glyphs/checkpoint.pt --support letters/ --pool scans/ --csv next.csv

    Args:
        checkpoint: What fewshot train wrote, or a ready model (imagenet).
        support: A folder with one folder per class; an empty one is a class that is known by its name alone.
        pool: Image files without labels, or folders of them.
        count: How many images to label, at most.
        relations: To known classes: by the classes' names (or names.csv in the folder), none, or FILE.csv.
        csv: Also write both lists to this file: suggestion (check or label), file, class, looks_like,
            probability.
    """
    from fewshot.evaluation.inputs import load_model
    from fewshot.model import suggest as own

    check_outputs(csv, inputs=[*read_of_source(checkpoint, relations), *read_of_support(support), *pool])
    suspects, candidates = own.suggest(load_model(checkpoint), support, pool, count, relations)
    if suspects:
        print("Labels to check:")
        rows = [(str(s.file), s.name, s.looks_like, f"{s.probability:.2f}") for s in suspects]
        print_table(("file", "class", "looks like", "probability that it is wrong"), rows)
    else:
        print("No label looks wrong.")
    print("Images to label next:")
    further = [(str(c.file), c.looks_like, f"{c.probability:.2f}") for c in candidates]
    print_table(("file", "looks like", "probability"), further)
    if csv is not None:
        header = ["suggestion", "file", "class", "looks_like", "probability"]
        table = [["check", s.file, s.name, s.looks_like, s.probability] for s in suspects]
        table += [["label", c.file, "", c.looks_like, c.probability] for c in candidates]
        write_csv(csv, [header, *table])
