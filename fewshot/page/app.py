"""The page itself: what is on it, and which handler each thing calls."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fewshot.core.errors import InputError
from fewshot.model.few_shot import GraphFewShot
from fewshot.page import render
from fewshot.page.answers import Answers, Desk, Options
from fewshot.page.handlers import Handlers, Visit
from fewshot.page.support_folder import SupportFolder

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported
import gradio as gr


def build(model: GraphFewShot, support: str | Path, name: str = "imagenet") -> gr.Blocks:
    """The page for a model and a support folder.

    Args:
        model: a checkpoint or a ready model.
        support: the folder, which the page may change.
        name: of the model, as it is loaded again.

    Raises:
        InputError: the folder cannot be used.
    """
    do = Handlers(Desk(model, SupportFolder(support)))
    with gr.Blocks(title="fewshot", analytics_enabled=False) as page:
        visit = gr.State(lambda: Visit())
        line = gr.HTML(render.message(""), elem_id="message")
        with gr.Row():
            with gr.Column(scale=2):
                table = gr.HTML(elem_id="classes")
                turned = gr.Number(
                    1, label="Page of the classes", precision=0, minimum=1, elem_id="classes-page"
                )
                with gr.Accordion("Change the classes", open=False, elem_id="change"):
                    typed = gr.Textbox(label="New class, by its name", elem_id="new-name")
                    make = gr.Button("Make the class", elem_id="make")
                    which = gr.Dropdown(label="Class", elem_id="which")
                    given = gr.File(label="Pictures for the class", file_count="multiple", elem_id="given")
                    own = gr.Dropdown(label="Picture of a class", elem_id="own")
                    out = gr.Button("Take it out", elem_id="take-out")
                undo = gr.Button("Undo", elem_id="undo")
                with gr.Accordion("Class graph", open=False, elem_id="graph"):
                    draw = gr.Button("Draw it", elem_id="draw")
                    drawing = gr.HTML(elem_id="drawing")
            with gr.Column(scale=3):
                with gr.Row():
                    dropped = gr.File(label="Pictures", file_count="multiple", elem_id="pictures")
                    whole = gr.File(label="or a folder", file_count="directory", elem_id="folder")
                with gr.Row():
                    joint = gr.Checkbox(label="All pictures together (joint)", elem_id="joint")
                    names = gr.Checkbox(True, label="Relations by names", elem_id="names")
                    equal = gr.Checkbox(label="Equal shares (joint)", elem_id="equal")
                absent = gr.Dropdown(label="Absent", multiselect=True, elem_id="absent")
                present = gr.Dropdown(label="Present", multiselect=True, elem_id="present")
                answers = gr.HTML(render.answers_table(Answers()), elem_id="answers")
                number = gr.Number(1, label="Page", precision=0, minimum=1, elem_id="page")
                with gr.Accordion("Why", open=False, elem_id="why"):
                    asked = gr.Dropdown(label="Picture", elem_id="asked")
                    reason = gr.HTML(elem_id="reason")
                    target = gr.Dropdown(label="Give it to the class", elem_id="target")
                    label = gr.Button("Give it", elem_id="label")
                with gr.Accordion("Suggestions", open=False, elem_id="suggestions"):
                    ask = gr.Button("What to check and to label next", elem_id="suggest")
                    advice = gr.HTML(elem_id="advice")
                    with gr.Row():
                        suspect = gr.Dropdown(label="Label to check", elem_id="suspect")
                        accept = gr.Button("Move it to the class that it looks like", elem_id="accept")
                        refuse = gr.Button("It is right", elem_id="refuse")
                    with gr.Row():
                        candidate = gr.Dropdown(label="Picture to label", elem_id="candidate")
                        chosen = gr.Dropdown(label="Class of it", elem_id="chosen")
                        choose = gr.Button("Give it", elem_id="choose")
                with gr.Accordion("Take away", open=False, elem_id="away"):
                    export = gr.Button("Answers as CSV", elem_id="export")
                    file = gr.File(label="CSV", interactive=False, elem_id="csv")
                    gr.Code(render.python_line(name, do.desk.folder.folder), language="python")
        options = [joint, names, equal, absent, present]
        inputs = [visit, number, *options]
        shown = [line, table, turned, which, target, chosen, own, absent, present, visit, number, answers]
        shown += [asked, advice, suspect, candidate]

        def handler(step: Callable[..., str]) -> Callable[..., list[Any]]:
            def run(now: Visit, at: int | float | None, *rest: Any) -> list[Any]:
                asking = _options(*rest[: len(options)])
                found = do.attempt(step, now, at, asking, *rest[len(options) :])
                if isinstance(found, str):
                    return [found, *[gr.skip()] * (len(shown) - 1)]
                known = [gr.Dropdown(choices=found.known)] * 2
                return [
                    found.said,
                    found.table,
                    gr.Number(visible=len(found.classes) > render.CLASSES_PER_PAGE),
                    *[gr.Dropdown(choices=found.classes)] * 3,
                    gr.Dropdown(choices=found.pictures, value=None),
                    *known,
                    found.visit,
                    gr.Number(visible=len(found.visit.files) > render.PER_PAGE),
                    found.answers,
                    gr.Dropdown(choices=found.asked, value=None),
                    found.advice,
                    *(_first(some) for some in (found.suspects, found.candidates)),
                ]

            return run

        gr.on(
            [page.load, number.input, *(option.input for option in options)],  # type: ignore[attr-defined]
            handler(do.look),
            inputs,
            shown,
        )
        dropped.upload(handler(do.take), [*inputs, dropped], shown)
        whole.upload(handler(do.take), [*inputs, whole], shown)
        make.click(handler(do.new_class), [*inputs, typed], shown)
        given.upload(handler(do.give), [*inputs, which, given], shown)
        out.click(handler(do.remove), [*inputs, own], shown)
        undo.click(handler(do.back), inputs, shown)
        label.click(handler(do.label), [*inputs, target, asked], shown)
        turned.input(handler(do.turn), [*inputs, turned], shown)
        ask.click(handler(do.suggest), [*inputs, names], shown)
        accept.click(handler(do.accept), [*inputs, suspect], shown)
        refuse.click(handler(do.refuse), [*inputs, suspect], shown)
        choose.click(handler(do.label), [*inputs, chosen, candidate], shown)
        asked.input(do.explain, [visit, asked, names], reason)
        export.click(do.save, visit, file)
        draw.click(do.graph, names, drawing)
    return page


def serve(
    model: GraphFewShot,
    support: str | Path,
    name: str,
    *,
    host: str = "127.0.0.1",
    port: int | None = 7860,
    password: str | None = None,
    wait: bool = True,
) -> tuple[gr.Blocks, str]:
    """Show the page in the browser of this machine, or on a network with a password.

    Args:
        model, support, name: as of `build`.
        host, port: where it is reached; without a port, at a free one.
        password: asked of whoever opens it, with the name ``fewshot``; default None: nothing is asked.
        wait: until it is interrupted; default True.

    Returns:
        The page and its address.

    Raises:
        InputError: the port is taken, the host is no address of this machine, or the folder cannot be used.
    """
    _check_address(host, port)
    page = build(model, support, name)
    # Fonts of the system, since the default theme's would be loaded from elsewhere.
    theme = gr.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="teal"
    )
    try:
        _, address, _ = page.launch(
            server_name=f"[{host}]" if ":" in host else host,  # as an address has IPv6
            server_port=port,
            auth=None if password is None else ("fewshot", password),
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            theme=theme,
            css=render.STYLE,
            footer_links=[],
        )
    except OSError as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"port: expected a free one, got {port} ({reason})") from error
    if wait:
        print(address, flush=True)
        page.block_thread()
    return page, address


def _check_address(host: str, port: int | None) -> None:
    """Raise an InputError unless a server can listen there."""
    if port is not None and not 1 <= port <= 65535:
        raise InputError(f"port: expected a number from 1 to 65535, got {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind((address[0], 0, *address[2:]))  # any port
    except (OSError, UnicodeError) as error:
        raise InputError(f"host: expected an address of this machine, got {host!r:.80}") from error


def _options(joint: bool, names: bool, equal: bool, absent: list[str], present: list[str]) -> Options:
    return Options(bool(joint), bool(names), bool(equal), tuple(absent or ()), tuple(present or ()))


def _first(choices: Sequence[tuple[str, Any]]) -> gr.Dropdown:
    """Choices with the first one chosen."""
    return gr.Dropdown(choices=list(choices), value=choices[0][1] if choices else None)
