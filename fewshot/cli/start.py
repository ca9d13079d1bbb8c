"""Where the command begins: so little is imported that it can already be interrupted."""


def main() -> int:
    """Run `fewshot.cli.entry.main`; returns the exit status, 130 after Ctrl-C."""
    try:
        from fewshot.cli import entry

        return entry.main()
    except KeyboardInterrupt:
        return 130
