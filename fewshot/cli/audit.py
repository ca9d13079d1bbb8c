"""`fewshot audit`."""

from __future__ import annotations

from pathlib import Path

from fewshot.cli.files import OutputFile, check_kept, check_outputs, read_of_data, read_of_source
from fewshot.cli.output import print_checks
from fewshot.core.files import tell, write_json


def audit(
    subject: str,
    *,
    features: Path | None = None,
    data: str | None = None,
    seed: int = 0,
    json: OutputFile | None = None,
) -> int:
    """Check that results do not depend on what a method must not see, such as the order of the queries.

    What takes relations to known classes is also checked with made-up ones: their scale must not matter.

    The exit status is 0 if all checks pass, 1 if one fails.

    Example: fewshot audit class-graph
    Example: fewshot audit mine.py:median

    Args:
        subject: A method's name, FILE.py:NAME for your own, what fewshot train wrote, or a ready model
            (imagenet).
        features: For a method: an .npz or .npy of features; default made-up features.
        data: For a checkpoint: KIND[:PATH]; default what it was trained on, or else made-up images.
        seed: Of the episodes, and of methods that learn.
        json: Also write the results to this file.
    """
    from fewshot.evaluation import audit as protocol
    from fewshot.evaluation.subjects import open_subject

    check_outputs(json, inputs=[*read_of_source(subject, features), *read_of_data(data)])
    opened = open_subject(subject, features, data, seed, tell)
    check_kept([json], read_of_data(opened.data))
    episode = protocol.small_batch(protocol.fitting_sampler(opened.examples, seed))
    checks = protocol.audit_modes(opened.call, opened.modes, episode, seed, opened.relations, opened.without)
    print_checks(checks)
    failed = {mode: protocol.failures(found) for mode, found in checks.items()}
    rows = [{"mode": mode, **vars(check)} for mode, found in checks.items() for check in found]
    write_json(json, {"subject": subject, "tolerance": protocol.TOLERANCE, "failed": failed, "rows": rows})
    return int(any(failed.values()))
