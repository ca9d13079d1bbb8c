"""The tables of accuracy and of probabilities, and the sentence that reports a result."""

import textwrap

from result_files import markdown, result

from fewshot.core.version import __version__

STEPS = 250  # of an epoch of Tiny ImageNet's training classes


def headline() -> str:
    """The README's table: prototypes and the class graph on letters and photographs."""
    columns = [
        ("glyphs", "letters", 5, 1),
        ("glyphs", "letters", 20, 1),
        ("tiny-imagenet-fs", "photographs", 5, 1),
        ("tiny-imagenet-fs", "photographs", 5, 5),
    ]
    heads = [f"{title}, {way}-way {shot}-shot" for _, title, way, shot in columns]
    cells: dict[tuple[str, str], list[str]] = {}
    for name, _, way, shot in columns:
        for row in result(name)["rows"]:
            if (row["way"], row["shot"]) == (way, shot) and row.get("relations", "none") == "none":
                method = row["method"], row["mode"]
                cells.setdefault(method, []).append(f"{row['accuracy']:.1f} ± {row['ci95']:.1f}")
    lines = [["method", "mode", *heads], ["---"] * (len(columns) + 2)]
    return markdown([*lines, *([*method, *values] for method, values in cells.items())])


def evidence() -> str:
    """What the graph makes of evidence, compared with masking the absent classes afterwards."""
    (row,) = result("evidence")["rows"]
    lines = [["given the graph", "accuracy"], ["---", "---"]]
    lines += [[name, f"{row[name]:.1f}"] for name in ("no evidence", "masked afterwards", "evidence")]
    gain = f"{row['gain']:+.1f} ± {row['ci95']:.1f}"
    return markdown([*lines, ["evidence over masking, paired by episode", gain]])


def dependencies() -> str:
    """Rank correlation of the dependencies with the model's confusions, and with WordNet."""
    lines = [["classes", "with confusions", "with the taxonomy"], ["---"] * 3]
    for split, title in (("val", "validation"), ("test", "test")):
        ranks = result("dependencies")["rows"][split]["rank_correlation"]
        lines.append([title, f"{ranks['confusions']:+.2f}", f"{ranks['taxonomy']:+.2f}"])
    return markdown(lines)


def photographs_gpu() -> str:
    """Recipes of miniimagenet-resnet12 on photographs: the best validation of each; the config's own last."""
    lines = [["pretraining", "best after", "1-shot", "5-shot"], ["---"] * 4]
    titles = {"the config": "the config, 30 epochs, CutMix", "100 epochs": "100 epochs, stopped at 91"}
    for name, run in result("photographs_gpu").items():
        rows = (row for row in run["rows"] if row["stage"] == "pretrain")
        best = max(rows, key=lambda row: row["val_accuracy"])
        accuracies = (f"{best[f'val_{k}-shot']:.1f}" for k in (1, 5))
        lines.append([titles.get(name, name), f"{best['step'] // STEPS} epochs", *accuracies])
    return markdown(lines)


def fitted_temperatures() -> str:
    """Calibration error and NLL without and with temperatures fitted on the validation classes."""
    keys = ("method", "mode", "relations", "way", "shot")
    before = {tuple(row[key] for key in keys): row for row in result("fitted_temperatures")["rows"]}
    heads = ["episodes", "mode", "relations", "calibration error: as trained", "fitted", "NLL: as trained"]
    lines = [[*heads, "fitted"], ["---"] * (len(heads) + 1)]
    for row in result("tiny-imagenet-fs")["rows"]:
        if row["method"] == "class-graph":
            was = before[tuple(row[key] for key in keys)]
            figures = [f"{x['ece']:.3f}" for x in (was, row)] + [f"{x['nll']:.3f}" for x in (was, row)]
            lines.append([f"{row['way']}-way {row['shot']}-shot", row["mode"], row["relations"], *figures])
    return markdown(lines)


def pretraining() -> str:
    """Ways to pretrain, the cheapest first."""
    lines = [["way", "work", "1-shot", "5-shot"], ["---"] * 4]
    rows = sorted(result("pretraining"), key=lambda row: (round(row["cost"], 1), -row["1-shot"]))
    lines += [
        [row["way"], f"{row['cost']:.2f}", *(f"{row[f'{k}-shot']:.1f}" for k in (1, 5))] for row in rows
    ]
    return markdown(lines)


def relations() -> str:
    """Points over prototypes with relations to known classes, true and false, for each condition."""
    conditions = result("relations")["conditions"]
    shown = [("none", "judged"), ("taxonomy", "judged"), ("taxonomy", "1"), ("shuffled", "judged")]
    heads = ["no relations", "taxonomy, judged", "taxonomy, believed", "shuffled, judged"]
    lines = [["condition", "method", "mode", *heads], ["---"] * (3 + len(shown))]
    for condition, content in conditions.items():
        found = {(r["method"], r["mode"], r["relations"], str(r["belief"])): r for r in content["rows"]}
        names = dict.fromkeys((r["title"], r["method"], r["mode"]) for r in content["rows"])
        for title, method, mode in names:
            rows = [found.get((method, mode, *key)) for key in shown]
            if method == "prototypes" or not any(rows[1:]):
                continue
            cells = [
                "" if r is None else f"{r['difference']:+.1f} ± {r['difference_ci95']:.1f}" for r in rows
            ]
            lines.append([condition, title, mode, *cells])
    return markdown(lines)


def unknown() -> str:
    """How well queries of none of the classes are found, by each rule."""
    conditions = result("unknown")["conditions"]
    heads = [f"{measure}, {name.split()[-1]}" for name in conditions for measure in ("AUROC", "accuracy")]
    lines = [["rule", "mode", "relations", *heads], ["---"] * (3 + len(heads))]
    cells: dict[tuple[str, str, str], list[str]] = {}
    for content in conditions.values():
        for row in content["rows"]:
            key = row["title"], row["mode"], row.get("relations", "none")
            cells.setdefault(key, []).extend([f"{row['auroc']:.1f}", f"{row['accuracy']:.1f}"])
    return markdown([*lines, *([*key, *values] for key, values in cells.items())])


def base_mean() -> str:
    """What to subtract from features without base classes: accuracy of the class graph, inductive."""
    rows = [row for row in result("base_mean")["rows"] if row["method"] == "class graph"]
    shown = [(kind, drawn) for kind in dict.fromkeys(r["features"] for r in rows)
             for drawn in ("5-way 1-shot", "5-way 5-shot", "16-way 5-shot")]  # fmt: skip
    heads = [f"{kind.split(' (')[0]}, {drawn}" for kind, drawn in shown]
    lines = [["subtracted", *heads], ["---"] * (1 + len(shown))]
    for subtracted in dict.fromkeys(row["subtracted"] for row in rows):
        own = {(r["features"], r["drawn"]): r["accuracy"] for r in rows if r["subtracted"] == subtracted}
        lines.append([subtracted, *(f"{own[key]:.1f}" for key in shown)])
    return markdown(lines)


def joint_harm() -> str:
    """Joint minus inductive accuracy, by ways, shots and queries per class."""
    rows = result("joint_harm")["rows"]
    queries = list(dict.fromkeys(row["query"] for row in rows))
    lines = [["episodes", "shares", *(f"{q} per class" for q in queries)], ["---"] * (2 + len(queries))]
    for way, shot in dict.fromkeys((row["way"], row["shot"]) for row in rows):
        own = [row for row in rows if (row["way"], row["shot"]) == (way, shot)]
        for mode, shares in (("joint", "not given"), ("joint-known", "given")):
            cells = [f"{row[mode]['above']:+.1f} ± {row[mode]['ci95']:.1f}" for row in own]
            lines.append([f"{way}-way {shot}-shot", shares, *cells])
    return markdown(lines)


def joint_conditions() -> str:
    """Joint minus inductive accuracy in 5-way episodes whose queries are not as benchmarks have them."""
    heads = {"joint": "not given", "joint-known": "given", "equal shares given": "equal ones given"}
    lines = [["queries", "shot", *(f"shares {head}" for head in heads.values())], ["---"] * 5]
    for row in result("joint_harm")["conditions"]:
        cells = [f"{row[m]['above']:+.1f} ± {row[m]['ci95']:.1f}" if m in row else "" for m in heads]
        lines.append([row["condition"], str(row["shot"]), *cells])
    return markdown(lines)


def labelling() -> str:
    """Accuracy after labels that were chosen in different ways."""
    lines = [["images to label", "0", "5", "10", "20", "10 labels over random ones"], ["---"] * 6]
    for row in result("suggest")["labelling"]:
        cells = [f"{row[key]:.1f}" for key in ("without", "accuracy 5", "accuracy 10", "accuracy 20")]
        above = f"{row['above random 10']:+.1f} ± {row['ci95 10']:.1f}" if row["choice"] != "random" else ""
        lines.append([row["choice"], *cells, above])
    return markdown(lines)


def suspected() -> str:
    """How many suspected labels are wrong, and how many of the wrong ones are found."""
    lines = [["episodes", "wrong labels", "precision", "recall", "class right"], ["---"] * 5]
    for row in result("suggest")["suspects"]:
        shape, wrong = f"{row['way']}-way {row['shot']}-shot", f"{100 * row['wrong']:.0f} %"
        lines.append([shape, wrong, *(f"{row[key]:.0f}" for key in ("precision", "recall", "class right"))])
    return markdown(lines)


def prototype_scale() -> str:
    """The calibration error of prototypes with each scale."""
    heads = ["features", "episodes", "accuracy", "scale 10", "usual scale", "validation classes"]
    lines = [heads, ["---"] * len(heads)]
    for row in result("prototype_scale")["rows"]:
        errors = [f"{row[name]:.3f}" for name in ("ten", "usual", "validation")]
        shape = f"{row['way']}-way {row['shot']}-shot"
        lines.append([row["features"], shape, f"{row['accuracy']:.1f}", *errors])
    return markdown(lines)


def sure_sets() -> str:
    """Coverage and size of sets by the thresholds, and by the probabilities alone."""
    heads = ["features", "mode", "relations", "episodes", "accuracy"]
    heads += ["coverage", "size", "by probabilities: coverage", "size"]
    lines = [heads, ["---"] * len(heads)]
    for row in result("sure_sets")["rows"]:
        told = "taxonomy" if row["related"] else "none"
        cells = [row["features"], row["mode"], told, f"{row['way']}-way {row['shot']}-shot"]
        cells.append(f"{row['accuracy']:.1f}")
        for kind in ("sets", "cumulative"):
            cells += [f"{row[f'{kind}_coverage']:.1f}", f"{row[f'{kind}_size']:.2f}"]
        lines.append(cells)
    return markdown(lines)


def unequal() -> str:
    """What it costs to keep fewer supports of the classes that have many."""
    rows = result("unequal_supports")["rows"]
    limits = [most for most in dict.fromkeys(row["most"] for row in rows) if most < 20]
    lines = [["mode", *(f"at most {most}" for most in limits)], ["---"] * (1 + len(limits))]
    for method, mode in (("class graph", "inductive"), ("class graph, joint", "joint")):
        own = {row["most"]: row for row in rows if row["method"] == method}
        lines.append([mode, *(f"{own[m]['above']:+.1f} ± {own[m]['ci95']:.1f}" for m in limits)])
    return markdown(lines)


def how_to_report() -> str:
    """The sentence to paste: the class graph on the photographs' features."""
    rows = result("rivals")["conditions"]["balanced 1-shot"]["rows"]
    one, joint = (
        next(row for row in rows if (row["method"], row["mode"]) == ("class-graph", mode))
        for mode in ("inductive", "joint")
    )
    figures, gains = (
        [f"{row[name]:.1f} ± {row[half]:.1f}" for row in (one, joint)]
        for name, half in (("accuracy", "ci95"), ("difference", "difference_ci95"))
    )
    text = (
        f"On {one['way']}-way {one['shot']}-shot episodes of the 20 test classes with 15 queries per class "
        f"in random order ({one['episodes']:,} episodes, fingerprint {one['fingerprint']} of fewshot "
        f"{__version__}), on frozen features of a resnet12, the class graph reaches {figures[0]} % "
        f"inductively and {figures[1]} % in joint (transductive) mode with unknown class proportions, "
        f"which is {gains[0]} and {gains[1]} points above prototypes on the same episodes (means with 95 % "
        "confidence intervals over episodes, differences paired)."
    )
    return textwrap.fill(text, 120, initial_indent="> ", subsequent_indent="> ")
