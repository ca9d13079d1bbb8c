"""Take a picture of the page of `fewshot serve`, with letters of the test split.

    python experiments/page_pictures.py runs/glyphs/checkpoint.pt

writes ``experiments/results/page.png``. It needs the extra ``page``, playwright and a browser (Chromium).
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from main_job import RESULTS
from PIL import Image

from fewshot.data.loading import load
from fewshot.evaluation.inputs import load_model
from fewshot.page import app

LETTERS, SUPPORTS, NEW = 6, 3, 12
SIDE = 96  # pixels of a picture


def write_letters(folder: Path) -> tuple[Path, list[str]]:
    """Some letters of one script in folders of their own, and new ones to classify."""
    data = load("glyphs").test
    script = next(iter(dict.fromkeys(data.superclasses)))
    classes = [c for c in range(data.num_classes) if data.superclasses[c] == script][:LETTERS]
    new = []
    for place, number in enumerate(classes):
        own = (data.labels == number).nonzero().flatten().tolist()
        home = folder / "letters" / data.class_names[number].replace("/", " ")
        home.mkdir(parents=True)
        for k, index in enumerate(own[: SUPPORTS + NEW // LETTERS]):
            picture = Image.fromarray(data.items[index, 0].numpy()).resize((SIDE, SIDE))
            file = home / f"{k}.png" if k < SUPPORTS else folder / f"scan {place}{k}.png"
            picture.save(file)
            new += [str(file)] if k >= SUPPORTS else []
    return folder / "letters", new


def take(checkpoint: str, out: Path) -> None:
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        support, new = write_letters(Path(folder))
        page, address = app.serve(load_model(checkpoint), support, checkpoint, port=None, wait=False)
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        view = play.chromium.launch(executable_path=browser, args=root).new_page()
        view.set_viewport_size({"width": 1400, "height": 1000})
        view.goto(address)
        view.locator("#classes tr, #classes li, #classes img").first.wait_for()
        view.locator("#pictures input[type=file]").set_input_files(new)
        view.locator("#message").get_by_text("pictures").wait_for()
        view.locator("#answers tr").nth(2).wait_for()
        view.locator("#joint input").check()
        view.locator("#answers tr.changed, #answers tr").first.wait_for()
        view.wait_for_timeout(2000)
        view.screenshot(path=out)
        page.close(verbose=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("--out", type=Path, default=RESULTS / "page.png")
    arguments = parser.parse_args()
    take(arguments.checkpoint, arguments.out)


if __name__ == "__main__":
    main()
