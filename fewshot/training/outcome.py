"""What a finished training leaves in its folder."""

from __future__ import annotations

from fewshot.data.packed import Splits
from fewshot.evaluation.scores import Scores
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.config import Config, to_dict
from fewshot.training.final import FinalEvaluation
from fewshot.training.recorder import RunRecorder
from fewshot.training.run_folder import RunFolder


def write_outcome(
    config: Config,
    splits: Splits,
    model: GraphFewShot,
    final: FinalEvaluation,
    scores: list[Scores],
    folder: RunFolder,
    recorder: RunRecorder,
) -> None:
    """Write checkpoint, results, report and pictures, and pass them on to the loggers."""
    from fewshot.report.example import draw_example
    from fewshot.report.run_report import write_report  # matplotlib takes a while to import

    checkpoint = folder.path / "checkpoint.pt"
    model.save(checkpoint, {"config": to_dict(config), "data": splits.hash})
    setting = {"split": "test", "query": config.evaluate.query, "seed": config.evaluate.seed}
    results = [{**s.row(), **setting} for s in scores]
    folder.write_results(results)
    related = final.relations(model) if config.scores_graph else None
    # The picture shows all of the model's known classes, or none if some of them are scored.
    whole = related is not None and model.known is not None and len(related.known) == len(model.known)
    rows = related.rows if related is not None and whole else None
    pictures = write_report(
        folder.path,
        config=to_dict(config),
        metrics=folder.metrics(),
        scores=scores,
        splits=splits,
        example=draw_example(model, splits.test, relations=rows) if config.scores_graph else None,
    )
    recorder.finish(results, pictures, checkpoint)
    folder.finish()
