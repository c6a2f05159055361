"""The way in of `hr` and `hermes-router`: a shell that asks for completions is answered before anything is loaded.

Owns that one decision. It must import nothing at its top, since a press of TAB pays for it.
"""


def main() -> None:
    """Answer the shell, or run the command."""
    import os  # noqa: PLC0415 - the interpreter has it already

    if "_HR_COMPLETE" in os.environ:
        from hermes_router.cli.completing import answer  # noqa: PLC0415 - without click, which takes 50 ms

        answer(os.environ)
        return
    from hermes_router.cli.main import main as run  # noqa: PLC0415

    run()
