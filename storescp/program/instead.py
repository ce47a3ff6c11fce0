"""What the programs do where they are asked for something else than to serve."""

from storescp.program.command_line import Asked


def do_instead(asked: Asked) -> int:
    """Do it; the exit code. Raises `UsageError` and `CannotStart`."""
    # Imported here, as a server needs none of it.
    if asked.instead == "check":
        from storescp.program.check import check  # noqa: PLC0415

        return check(asked)
    if asked.instead == "conformance":
        from storescp.program.conformance import conformance  # noqa: PLC0415

        return conformance(asked)
    raise ValueError(asked.instead)
