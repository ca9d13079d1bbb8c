"""Files are read in one place, `fewshot.core.untrusted`, and written in one, `fewshot.core.files`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import fewshot

PACKAGE = Path(fewshot.__file__).parent

READS = {
    *("np.load", "np.fromfile", "np.memmap", "np.loadtxt", "np.genfromtxt", "torch.load", "Image.open"),
    *("json.load", "json.loads", "yaml.load", "yaml.safe_load", "yaml.full_load", "yaml.unsafe_load"),
}
READING_METHODS = {"read_text", "read_bytes", "open"}
MODULES = {"pickle", "dill", "joblib", "marshal", "shelve", "zipfile", "tarfile", "gzip", "bz2", "lzma"}
NAMES = {"load_file", "safe_open", "load_model"}  # of safetensors
WRITES = {"torch.save", "np.save", "np.savez", "np.savetxt"}
WRITING_METHODS = {"write_text", "write_bytes"}

# Where else files may be read, and why.
READERS = {
    "core/untrusted/": "this is the place",
    "data/readers/archives.py": "archives; the limits come from core.untrusted",
    "data/readers/images.py": "pictures; decoded from bytes in memory, in few formats",
    "data/loading.py": "its `open` is that of a kind of data set",
    "training/loggers.py": "TensorBoard gets the pictures that this run has just drawn",
    "training/run_folder.py": "opens the metrics and the lock for writing",
    "data/packing.py": "opens a new pack for writing",
    "data/features_file.py": "opens a temporary file for writing",
    "evaluation/episodes_file.py": "likewise",
    "graph/half_rows.py": "maps rows of numbers of a plain file, as many as a header says, and writes them",
    "core/wordnet.py": "the nouns that come with the package",
    "core/fastest.py": "what the system says of the processor",
    "core/files.py": "copies what it has just written to a device",
    "cli/entry.py": "opens the null device in place of a closed output",
}
# Where files may be written directly, into a temporary file of `replacing` or an unfinished folder.
WRITERS = {
    *("core/files.py", "data/features_file.py", "graph/saving.py", "graph/known_classes.py"),
    "evaluation/episodes_file.py",
    "training/loggers.py",
}


def sources() -> Iterator[tuple[str, ast.AST]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        yield file.relative_to(PACKAGE).as_posix(), ast.parse(file.read_text())


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def reads(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] in MODULES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        first = (node.module or "").split(".")[0]
        return first in MODULES or (first == "safetensors" and any(a.name in NAMES for a in node.names))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return dotted(node.func) in READS or node.func.attr in READING_METHODS
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"


def writes(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    return dotted(node.func) in WRITES or node.func.attr in WRITING_METHODS


def test_strangers_bytes_are_read_in_one_place() -> None:
    found = {
        f"{name}:{getattr(node, 'lineno', 0)}"
        for name, tree in sources()
        for node in ast.walk(tree)
        if reads(node) and not name.startswith(tuple(READERS))
    }
    assert not found, f"read by fewshot.core.untrusted instead: {sorted(found)}"


def test_files_are_written_in_one_place() -> None:
    found = {
        f"{name}:{getattr(node, 'lineno', 0)}"
        for name, tree in sources()
        for node in ast.walk(tree)
        if writes(node) and name not in WRITERS
    }
    assert not found, f"written by fewshot.core.files instead: {sorted(found)}"


def test_the_lists_name_what_is_there() -> None:
    for name in [*READERS, *WRITERS]:
        assert (PACKAGE / name).exists(), name


def test_this_test_finds_what_it_looks_for() -> None:
    for text in ("import pickle", "np.load('x')", "path.read_text()", "open('x')", "json.loads('1')"):
        assert any(map(reads, ast.walk(ast.parse(text)))), text
    for text in ("path.write_text('x')", "torch.save(x, 'y')"):
        assert any(map(writes, ast.walk(ast.parse(text)))), text
