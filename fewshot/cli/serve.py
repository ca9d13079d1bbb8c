"""`fewshot serve`."""

from __future__ import annotations

from pathlib import Path

from fewshot.core.errors import InputError
from fewshot.core.files import expanded
from fewshot.core.untrusted.plain import read_plain

LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(
    checkpoint: str,
    *,
    support: Path = Path("photos"),
    port: int = 7860,
    host: str = "127.0.0.1",
    password: Path | None = None,
) -> None:
    """Classify your own images on a page in the browser, and change the support folder there.

    The page is only reached from this machine unless --host says otherwise; it loads nothing from elsewhere.
    What is taken out of the support folder there is moved into its hidden folder .fewshot-trash.

    Example: fewshot serve imagenet --support photos/

    Args:
        checkpoint: What fewshot train wrote, or a ready model (imagenet).
        support: A folder with one folder per class, which the page may change; made if it is missing.
        port: Of this machine.
        host: The address that the page is reached at; another than 127.0.0.1 needs a password.
        password: A file with the password; the user's name is fewshot.
    """
    if host not in LOCAL and password is None:
        raise InputError(f"password: expected a file with a password for host {host}, got none")
    secret = None
    if password is not None:
        secret = read_plain(expanded(password), 1000).decode("utf-8", "replace").strip()
        if not secret:
            raise InputError(f"password: expected a password in {password}, got an empty file")
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise InputError("serve: expected gradio (pip install 'fewshot-graph[page]'), got none") from error
    from fewshot.evaluation.inputs import load_model
    from fewshot.page import app

    app.serve(load_model(checkpoint), support, checkpoint, host=host, port=port, password=secret)
