"""What a run leaves in its folder, read again."""

import json


def results(folder):
    return json.loads((folder / "results.json").read_text())


def metrics(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
