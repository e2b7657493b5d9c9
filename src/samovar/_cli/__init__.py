"""The front door for people: the command `samovar`. Each of its commands is a module here, listed in `command`.

What they need besides Python is the extra `cli`; without it the command says so. Importing samovar imports none of it.
"""

import sys

NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command `samovar` with this process's arguments, and end the process."""
    try:
        from .command import app
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        print(f"samovar: this command needs {error.name}: pip install 'samovar[cli]'", file=sys.stderr)
        sys.exit(2)
    app(prog_name="samovar")
