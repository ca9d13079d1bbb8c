"""Where the command begins: so little is imported that it can already be interrupted."""

import os
import signal
from types import FrameType

STATUS = 130  # of a command that was interrupted, as shells have it


def main() -> int:
    """Run `fewshot.cli.entry.main`; returns the exit status, 130 after Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is to be ignored
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from fewshot.cli import entry

        return entry.main()
    except KeyboardInterrupt as error:
        _report(*map(str, error.args))
        return STATUS
    finally:
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, _leave)  # while Python ends


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Let the command clean up; but not in the middle of an import, where compiled code may abort."""
    signal.signal(signal.SIGINT, _leave)  # a second Ctrl-C does not wait
    while frame is not None:
        if "importlib" in frame.f_code.co_filename:
            _leave()
        frame = frame.f_back
    raise KeyboardInterrupt


def _leave(*_: object) -> None:
    _report()
    os._exit(STATUS)


def _report(*hints: str) -> None:
    try:
        os.write(2, "; ".join(["fewshot: interrupted", *hints]).encode() + b"\n")
    except OSError:  # closed by whoever started it
        return
