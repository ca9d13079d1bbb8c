"""Pages and pictures of the site that come from elsewhere in the repository.

No page loads anything from another host.
"""

import re
from argparse import _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from fewshot.cli.entry import build_parser
from fewshot.data.readers.benchmark import read_benchmark

ROOT = Path(__file__).parent.parent
SOURCE = re.compile(r"^\[(fewshot/\S+\.py)\]\(\.\./\.\./\1\)\n\n", re.MULTILINE)  # above what is documented


def _yaml(folder: str) -> dict[str, Any]:
    """What the YAML files of a folder hold, by their names."""
    return {file.stem: yaml.safe_load(file.read_text()) for file in sorted((ROOT / folder).glob("*.yaml"))}


DATASETS = _yaml("datasets")
PAGES = [name for name, content in DATASETS.items() if "like" not in content]


def on_config(config: Any, **_: Any) -> Any:
    """List the benchmarks' pages."""
    for entry in config.nav:
        if "Benchmarks" in entry:
            entry["Benchmarks"] = [entry["Benchmarks"], *(f"benchmarks/{name}.md" for name in PAGES)]
    return config


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add one page per benchmark, the page of commands, and the pictures that the README shows."""
    pages = {f"benchmarks/{name}.md": benchmark_page(name) for name in PAGES}
    for path, text in {**pages, "commands.md": commands_page()}.items():
        files.append(File.generated(config, path, content=text))
    for picture in (ROOT / "experiments" / "results").rglob("*.png"):
        path = str(picture.relative_to(ROOT))
        files.append(File.generated(config, path, content=picture.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leave out the links into the source, which are for readers of a checkout."""
    return SOURCE.sub("", markdown) if page.file.src_path.startswith("reference/") else markdown


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that loads anything from another host: the site works without a network."""
    for tag in re.findall(r"<(?:script|img|iframe|source|link)\b[^>]*>", output):
        if re.search(r'\b(?:src|href)="(?:https?:)?//', tag) and 'rel="canonical"' not in tag:
            raise PluginError(f"{page.file.src_path}: expected nothing from another host, got {tag}")
    return output


def benchmark_page(name: str) -> str:
    """What the benchmark's YAML file says, how to load it, and its classes."""
    content, benchmark = DATASETS[name], read_benchmark(name)
    kind = content["load"].split(":")[0]
    lines = [f"# {name}", "", _comment(name), ""]
    lines += [f"**{key.capitalize()}:** {_linked(content[key])}\n" for key in ("paper", "licence", "get")]
    lines += ["| split | classes | images |", "|---|---|---|"]
    for split, classes in benchmark.classes.items():
        counts = benchmark.images or {}
        images = counts.get(split, len(classes) * (benchmark.images_per_class or 0))
        lines.append(f"| {split} | {len(classes):,} | {images:,} |")
    if benchmark.checksums:
        lines += ["", "| file | checksum |", "|---|---|"]
        lines += [f"| {file} | `{checksum}` |" for file, checksum in benchmark.checksums.items()]
    commands = [f"fewshot data check {kind}:PATH"]
    commands += [f"fewshot train --config {config} --data {kind}:PATH" for config in _configs(kind)]
    lines += ["", "```console", *commands, "```", ""]
    for other, variant in DATASETS.items():
        if variant.get("like") == name:
            lines.append(f"**{other}**: {_comment(other)} Load as {_linked(variant['load'])}\n")
    for split, classes in benchmark.classes.items():
        lines.append(f'??? note "{split}: {len(classes):,} classes"\n    {", ".join(classes)}\n')
    return "\n".join(lines)


def commands_page() -> str:
    """What ``fewshot COMMAND --help`` prints, of every command."""
    lines = ["# Commands", "", "`fewshot COMMAND --help` prints these.", ""]
    for name, parser in _parsers(build_parser(), "fewshot"):
        lines += [f"## {name}", "", "```text", parser.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def _parsers(parser: Any, name: str) -> Iterator[tuple[str, Any]]:
    below = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    if not below:
        yield name, parser
    for action in below:
        for command, child in action.choices.items():
            yield from _parsers(child, f"{name} {command}")


def _comment(name: str) -> str:
    """The words at the top of a YAML file."""
    lines = (ROOT / "datasets" / f"{name}.yaml").read_text().splitlines()
    return " ".join(line[1:].strip() for line in lines if line.startswith("#"))


def _linked(text: str) -> str:
    return re.sub(r"https://[^\s,;)]*[^\s,;).]", r"<\g<0>>", text)


def _configs(kind: str) -> list[str]:
    """The configs whose data are of this kind."""
    configs = _yaml("configs").items()
    return [name for name, content in configs if content.get("data", "").split(":")[0] == kind]
