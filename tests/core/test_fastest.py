"""What is fastest here is measured once, remembered, and measured again elsewhere."""

import json
import time

import pytest

from fewshot.core import fastest as module
from fewshot.core.fastest import FILE, fastest


def ways(calls, **seconds):
    def way(name):
        def work():
            calls.append(name)
            time.sleep(seconds[name])

        return work

    return {name: way(name) for name in seconds}


@pytest.mark.parametrize(("factor", "answer"), [(0.5, "b"), (0.9, "a"), (2.0, "a")])
def test_another_way_has_to_win_by_the_margin(tmp_path, monkeypatch, factor, answer):
    monkeypatch.setattr(module, "race", lambda ways, device: {"a": 1.0, "b": factor})
    assert fastest("q", {"a": int, "b": int}, margin=1.2, cache=tmp_path) == answer


def test_it_is_measured_once_per_machine(tmp_path, monkeypatch):
    calls = []
    asked = ways(calls, a=0.0, b=0.0)
    answer = fastest("q", asked, cache=tmp_path)
    assert set(calls) == {"a", "b"}
    calls.clear()
    assert fastest("q", asked, cache=tmp_path) == answer
    assert calls == []
    monkeypatch.setattr(module, "here", lambda device: "another processor")
    fastest("q", asked, cache=tmp_path)
    assert calls
    assert len(json.loads((tmp_path / FILE).read_text())) == 2


@pytest.mark.parametrize("content", ["", "[", "[1]", '{"here": 5}', '{"here": {"q": 5}}', "[" * 50_000])
def test_a_file_that_is_none_is_measured_again(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    assert fastest("q", ways([], a=0.0), cache=tmp_path) == "a"
    assert json.loads((tmp_path / FILE).read_text())[module.here()]["q"]["fastest"] == "a"


def test_without_a_cache_folder_it_is_still_measured(tmp_path):
    (tmp_path / "file").write_text("")
    assert fastest("q", ways([], a=0.0), cache=tmp_path / "file" / "cache") == "a"


def test_what_was_measured_is_told(tmp_path, monkeypatch):
    assert module.measured(cache=tmp_path) == {}
    monkeypatch.setattr(module, "race", lambda ways, device: {"a": 0.0123456, "b": 0.001})
    fastest("q", {"a": int, "b": int}, cache=tmp_path)
    assert module.measured(cache=tmp_path) == {"q": "b (a 12.3 ms, b 1.0 ms)"}
    (tmp_path / FILE).write_text(json.dumps({module.here(): {"q": {"fastest": "b", "milliseconds": 5}}}))
    assert module.measured(cache=tmp_path) == {}
