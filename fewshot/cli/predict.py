"""`fewshot predict` and `fewshot graph`: the user's own images."""

from __future__ import annotations

from pathlib import Path

from fewshot.cli.output import check_outputs, print_table
from fewshot.core.files import say, tell, write_csv
from fewshot.core.modes import Inference


def predict(
    checkpoint: Path,
    *,
    support: Path,
    query: list[Path],
    mode: Inference = "inductive",
    absent: list[str] = [],  # noqa: B006 (never changed; what the help shows)
    present: list[str] = [],  # noqa: B006
    relations: str = "names",
    csv: Path | None = None,
) -> None:
    """Classify your own images by a few labelled ones.

    Example: fewshot predict runs/glyphs/checkpoint.pt --support letters/ --query scan.png scans/

    Args:
        checkpoint: What fewshot train wrote.
        support: A folder with one folder per class, each with at least one image.
        query: Image files, or folders of them.
        mode: Look at each query on its own, or at all queries together (transductive).
        absent: Classes that you know are not among the queries.
        present: Classes that you know are among the queries.
        relations: To known classes: by the classes' names (or names.csv in the folder), none, or FILE.csv.
        csv: Also write the probabilities of all classes to this file.
    """
    from fewshot.evaluation.inputs import load_model
    from fewshot.model import predict as own
    from fewshot.model.remarks import image_remarks

    check_outputs(csv, inputs=[checkpoint, *query])
    model = load_model(checkpoint)
    found = own.predict(model, support, query, mode=mode, absent=absent, present=present, relations=relations)
    for line in image_remarks(model, own.support_files(support), [p.file for p in found]):
        tell(line)
    rows = [(str(p.file), p.name, f"{p.probability:.3f}") for p in found]
    print_table(("file", "class", "probability"), rows)
    if csv is not None:
        header = ["file", "class", "probability", *found[0].probabilities]
        table = [[str(p.file), p.name, p.probability, *p.probabilities.values()] for p in found]
        write_csv(csv, [header, *table])


def graph(checkpoint: Path, *, support: Path, out: Path, relations: str = "names") -> None:
    """Draw or export the class graph of your own classes.

    Example: fewshot graph runs/glyphs/checkpoint.pt --support letters/ --out letters.html

    Args:
        checkpoint: What fewshot train wrote.
        support: A folder with one folder per class, each with at least one image.
        out: The file; its ending decides the format: .png, .html, .graphml or .json.
        relations: To known classes: by the classes' names (or names.csv in the folder), none, or FILE.csv.
    """
    from fewshot.evaluation.inputs import load_model
    from fewshot.model.folder_relations import folder_relations
    from fewshot.model.predict import support_files
    from fewshot.report import class_graph as drawing
    from fewshot.report.example import class_picture

    drawing.check_extension(out)
    check_outputs(out, inputs=[checkpoint])
    model = load_model(checkpoint)
    related = folder_relations(relations, support, list(support_files(support)), model.known)
    say(drawing.save(out, class_picture(model, support, related)))
