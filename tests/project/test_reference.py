"""The reference can be read in a checkout: each entry has a link to the file that defines it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
ENTRY = re.compile(r"^(?:\[(\S+)\]\((\S+)\)\n\n)?::: (\S+)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_entry_has_a_link_to_its_source(page: Path) -> None:
    entries = ENTRY.findall(page.read_text())
    assert entries
    for shown, link, name in entries:
        file = (page.parent / link).resolve()
        assert shown, f"{name} has no link to its source"
        assert file == ROOT / shown
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        rest = name.removeprefix(module).removeprefix(".")
        assert name.startswith(module)
        assert not rest or re.search(rf"^(class|def) {rest}\b", file.read_text(), re.MULTILINE)


def test_the_site_leaves_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(ROOT / "docs")
    import hooks

    for page in PAGES:
        assert "../../fewshot" not in hooks.SOURCE.sub("", page.read_text())
