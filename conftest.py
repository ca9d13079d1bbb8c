"""Fixtures of all tests, doctests included."""

from collections.abc import Iterator

import pytest

collect_ignore_glob = ["tests/*/conftest.py"]  # they are loaded, but hold no doctests and share a name


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Packs that tests make go to a folder of their own, not to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWSHOT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def nothing_is_timed() -> Iterator[None]:
    """Whatever is faster on this machine: float32, channels last, eager, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("precision", "backbones.compiled"):
            patch.setattr(f"fewshot.model.{module}.fastest", lambda question, ways, **_: next(iter(ways)))
        yield
