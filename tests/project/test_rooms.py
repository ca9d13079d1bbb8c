"""Rooms import downwards only, without cycles, and all of them are part of the package."""

import os
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]


def contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `make lint` says of the imports of the package in a folder."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's modules and its configuration, to be changed."""
    pytest.importorskip("importlinter")
    shutil.copytree(ROOT / "fewshot", tmp_path / "fewshot", ignore=shutil.ignore_patterns("weights", "*.pyc"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("core/errors.py", "from fewshot.graph.vectors import normalize", "Rooms import downwards only"),
        ("graph/vectors.py", "import fewshot.data.packed", "Rooms import downwards only"),
        ("methods/prototypes.py", "def f():\n    import fewshot.report.html", "Rooms import downwards only"),
        ("graph/vectors.py", "import fewshot.graph.class_graph", "No cycles"),
        ("graph/vectors.py", "import fewshot.core.loop", ""),
    ],
    ids=["upwards", "sideways", "within a function", "cycle", "downwards"],
)
def test_an_import_that_points_upwards_breaks_the_contract(
    copy: Path, file: str, line: str, broken: str
) -> None:
    with (copy / "fewshot" / file).open("a") as stream:
        stream.write(f"\n{line}\n")
    done = contracts(copy)
    verdicts = [row for row in done.stdout.splitlines() if row.endswith((" KEPT", " BROKEN"))]
    found = [row for row in verdicts if row.endswith(" BROKEN")]
    assert len(verdicts) == 2, done.stdout + done.stderr
    assert done.returncode == bool(found) == bool(broken)
    assert not broken or any(row.startswith(broken) for row in found)


def test_every_folder_of_modules_is_packaged() -> None:
    found = {
        ".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "fewshot").rglob("__init__.py")
    }
    assert found | set(SETUPTOOLS["package-dir"]) == set(SETUPTOOLS["packages"])


def test_every_file_that_is_no_module_is_packaged() -> None:
    patterns = [
        f"{package.replace('.', '/')}/{pattern}"
        for package, own in SETUPTOOLS["package-data"].items()
        for pattern in own
    ]
    homes = {name.replace(".", "/"): folder for name, folder in SETUPTOOLS["package-dir"].items()}
    files = [file for file in (ROOT / "fewshot").rglob("*") if file.is_file()]
    paths = [str(file.relative_to(ROOT)) for file in files if file.suffix not in (".py", ".pyc")]
    for home, folder in homes.items():
        paths += [f"{home}/{file.relative_to(ROOT / folder)}" for file in (ROOT / folder).rglob("*.yaml")]
    assert paths
    missing = [path for path in paths if not any(fnmatch(path, pattern) for pattern in patterns)]
    assert missing == []


def test_the_top_of_the_package_is_short() -> None:
    entries = [entry for entry in (ROOT / "fewshot").iterdir() if entry.name != "__pycache__"]
    assert len(entries) <= 14


def test_the_version_is_in_one_place() -> None:
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    attribute = PYPROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert attribute == "fewshot.core.version.__version__"
