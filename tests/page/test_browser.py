"""The page in a real browser, which asks no other host for anything."""

import csv
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fewshot.model.suggest import Candidate, Suspect
from fewshot.page.answers import Desk

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def served(small_model, photos):
    pytest.importorskip("gradio", reason="the extra `page` is not installed")
    from fewshot.page import app

    page, address = app.serve(small_model, photos / "photos", "imagenet", port=None, wait=False)
    yield address
    page.close(verbose=False)


@pytest.fixture
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("there is no browser: neither chromium nor google-chrome is on the PATH")
    with api.sync_playwright() as play:
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        opened = play.chromium.launch(executable_path=BROWSER, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def advised(monkeypatch, photos):
    """The suggestions are that the crow is a gull, and to label the first picture."""

    def suggestions(self, files, *_):
        suspect = Suspect(photos / "photos" / "crow" / "0.png", "crow", "gull", 0.9)
        return [suspect], [Candidate(files[0], "saw", 0.5)]

    monkeypatch.setattr(Desk, "suggestions", suggestions)


def test_a_visit(browser, served, advised, photos):
    from playwright.sync_api import expect

    page = browser.new_page(accept_downloads=True)
    hosts, dialogs = set(), []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("dialog", lambda dialog: (dialogs.append(dialog), dialog.dismiss()))
    page.set_default_timeout(20_000)
    page.goto(served)
    classes, answers, line = (page.locator(f"#{name}") for name in ("classes", "answers", "message"))
    classes.get_by_text("bird", exact=False).first.wait_for()

    pictures = [str(file) for file in sorted((photos / "new").iterdir())]
    page.locator("#pictures input[type=file]").set_input_files(pictures)
    line.get_by_text("3 pictures").wait_for()
    names = answers.locator("tr td:nth-child(3)").all_inner_texts()
    assert len(names) == 3

    page.locator("#absent input").click()
    page.get_by_role("option", name=names[0], exact=True).click()
    answers.locator("tr.changed").first.wait_for()
    assert names[0] not in answers.locator("tr td:nth-child(3)").all_inner_texts()
    page.keyboard.press("Escape")

    page.locator("#change > button").click()
    typed = page.locator("#new-name textarea, #new-name input").first
    for name, shown in (
        ("heron", "heron"),
        ("owl <img src=x onerror=alert(1)>", "owl <img"),
        ("../../x", ""),
    ):
        typed.fill(name)
        page.locator("#make").click()
        if shown:
            classes.get_by_text(shown).first.wait_for()
    line.get_by_text("'x'").first.wait_for()
    assert not (photos / "x").exists()
    for _ in range(2):
        page.locator("#undo").click()
        line.get_by_text("Undone: new class").wait_for()
        page.wait_for_timeout(300)

    page.locator("#suggestions > button").click()
    page.locator("#suggest").click()
    check = page.locator("#suspect input")
    expect(check).to_have_value("crow/0.png: gull?")
    page.locator("#accept").click()
    line.get_by_text("from 'crow' to 'gull'").wait_for()
    assert len(list((photos / "photos" / "gull").iterdir())) == 2
    expect(check).to_have_value("")
    page.locator("#undo").click()
    expect(check).to_have_value("crow/0.png: gull?")
    page.locator("#refuse").click()
    line.get_by_text("stays in 'crow'").wait_for()
    expect(check).to_have_value("")
    page.locator("#chosen input").click()
    page.get_by_role("option", name="saw", exact=True).click()
    page.locator("#choose").click()
    line.get_by_text("'0.png' to 'saw'").wait_for()
    assert len(list((photos / "photos" / "saw").iterdir())) == 2
    page.locator("#undo").click()
    expect(page.locator("#candidate input")).to_have_value("0.png: saw?")

    page.locator("#away > button").click()
    page.locator("#export").click()
    with page.expect_download() as download:
        page.locator("#csv a").first.click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8").splitlines()))
    assert [row["file"] for row in rows] == ["0.png", "1.png", "2.png"]
    assert all(float(row[names[0]]) == 0 for row in rows)
    assert {host for host in hosts if host} == {urlsplit(served).netloc}
    assert not dialogs
