"""`fewshot predict` and `fewshot graph`: the user's own images."""

from __future__ import annotations

from pathlib import Path

from fewshot.cli.files import OutputFile, check_outputs, read_of_source, read_of_support
from fewshot.cli.output import print_table
from fewshot.core.files import say, tell, write_csv
from fewshot.core.modes import Inference


def predict(
    checkpoint: str,
    *,
    support: Path,
    query: list[Path],
    mode: Inference = "inductive",
    absent: list[str] = [],  # noqa: B006 (never changed; what the help shows)
    present: list[str] = [],  # noqa: B006
    proportions: str = "unknown",
    relations: str = "names",
    none: bool = False,
    sure: float | None = None,
    without_known: Path | None = None,
    csv: OutputFile | None = None,
) -> None:
    """Classify your own images by a few labelled ones.

    Where folders of queries are named like classes, the accuracy is reported, too.

    Example: fewshot predict imagenet --support photos/ --query new/

    Args:
        checkpoint: What fewshot train wrote, or a ready model (imagenet).
        support: A folder with one folder per class; an empty one is a class that is known by its name alone.
        query: Image files, or folders of them.
        mode: Look at each query on its own, or at all queries together (transductive).
        absent: Classes that you know are not among the queries; or groups, such as mammal.
        present: Classes that you know are among the queries; or groups of which at least one class is.
        proportions: The classes' shares of the queries in joint mode: unknown, equal, or a FILE.csv with the
            columns class and share. Each class is then given to as many queries as its share says.
        relations: To known classes: by the classes' names (or names.csv in the folder), none, or FILE.csv.
        without_known: A table of classes to take out of the known ones, by their wnid, path or name.
        none: Also give the probability that a query is of none of the classes.
        sure: Also give for each query the smallest set of classes that holds the right one in this share of
            the cases (0.5 to 0.99), and their nearest common group if paths are known.
        csv: Also write the probabilities of all classes to this file, and what else was asked for.
    """
    from fewshot.evaluation.inputs import load_model
    from fewshot.model import predict as own
    from fewshot.model.image_files import support_files
    from fewshot.model.prediction import FIRST, answer_table
    from fewshot.model.remarks import image_remarks

    read = read_of_source(checkpoint, proportions, relations, without_known)
    check_outputs(csv, inputs=[*read, *read_of_support(support), *query])
    model = load_model(checkpoint, without_known)
    found = own.predict(
        model,
        support,
        query,
        mode=mode,
        absent=absent,
        present=present,
        proportions=proportions,
        relations=relations,
        none=none,
        sure=sure,
        tell=tell,
    )
    for line in image_remarks(model, support_files(support, zero_shot=True), [p.file for p in found]):
        tell(line)
    (header, *rows), classes = answer_table(found), len(found[0].probabilities)
    shown = [*range(len(FIRST)), *range(len(FIRST) + classes, len(header))]  # without a column per class
    cells = [[f"{x:.3f}" if isinstance(x, float) else str(x) for x in row] for row in rows]
    print_table([header[i] for i in shown], [[row[i] for i in shown] for row in cells])
    if named := [p for p in found if p.file.parent.name in p.probabilities]:
        right = sum(p.name == p.file.parent.name for p in named)
        share = 100 * right / len(named)
        print(f"accuracy: {share:.1f} % of the {len(named)} whose folder names their class")
    if csv is not None:
        write_csv(csv, [header, *rows])


def graph(checkpoint: str, *, support: Path, out: OutputFile, relations: str = "names") -> None:
    """Draw or export the class graph of your own classes.

    Example: fewshot graph runs/glyphs/checkpoint.pt --support letters/ --out letters.html

    Args:
        checkpoint: What fewshot train wrote, or a ready model (imagenet).
        support: A folder with one folder per class; an empty one is a class that is known by its name alone.
        out: The file; its ending decides the format: .png, .html, .graphml or .json.
        relations: To known classes: by the classes' names (or names.csv in the folder), none, or FILE.csv.
    """
    from fewshot.evaluation.inputs import load_model
    from fewshot.model.folder_supports import read_supports
    from fewshot.report import class_graph as drawing
    from fewshot.report.example import class_picture

    drawing.check_extension(out)
    check_outputs(out, inputs=[*read_of_source(checkpoint, relations), *read_of_support(support)])
    model = load_model(checkpoint)
    supports = read_supports(model, support, relations)
    say(drawing.save(out, class_picture(model, support, supports.related)))
