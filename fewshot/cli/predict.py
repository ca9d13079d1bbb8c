"""`fewshot predict` and `fewshot graph`: the user's own images."""

from __future__ import annotations

from pathlib import Path

from fewshot.cli.output import check_outputs, print_table
from fewshot.core.files import tell, write_csv
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
    proportions: str = "unknown",
    none: bool = False,
    sure: float | None = None,
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
        proportions: The classes' shares of the queries in joint mode: unknown, equal, or a FILE.csv with the
            columns class and share. Each class is then given to as many queries as its share says.
        none: Also give the probability that a query is of none of the classes.
        sure: Also give for each query the smallest set of classes that holds the right one in this share of
            the cases (0.5 to 0.99), and their nearest common group if paths are known.
        csv: Also write the probabilities of all classes to this file, and what else was asked for.
    """
    from fewshot.evaluation.inputs import load_model
    from fewshot.model import predict as own
    from fewshot.model.prediction import FIRST, answer_table
    from fewshot.model.remarks import image_remarks

    check_outputs(csv)
    model = load_model(checkpoint)
    found = own.predict(
        model,
        support,
        query,
        mode=mode,
        absent=absent,
        present=present,
        relations=relations,
        proportions=proportions,
        none=none,
        sure=sure,
    )
    for line in image_remarks(model, own.support_files(support), [p.file for p in found]):
        tell(line)
    (header, *rows), classes = answer_table(found), len(found[0].probabilities)
    shown = [*range(len(FIRST)), *range(len(FIRST) + classes, len(header))]  # without a column per class
    cells = [[f"{x:.3f}" if isinstance(x, float) else str(x) for x in row] for row in rows]
    print_table([header[i] for i in shown], [[row[i] for i in shown] for row in cells])
    if csv is not None:
        write_csv(csv, [header, *rows])


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
    check_outputs(out)
    model = load_model(checkpoint)
    related = folder_relations(relations, support, list(support_files(support)), model.known)
    print(drawing.save(out, class_picture(model, support, related)))
