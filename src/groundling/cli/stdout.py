"""What is printed may hold any letters: labels and file names know no locale."""

import sys
from io import TextIOWrapper


def allow_any_letter(*, as_json: bool = False) -> None:
    """Print letters that the locale lacks as a sign in their place; JSON is always UTF-8.

    Args:
        as_json: JSON is printed; file names that are not UTF-8 keep their bytes.
    """
    if not isinstance(sys.stdout, TextIOWrapper):
        return
    if as_json:
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    else:
        sys.stdout.reconfigure(errors="replace")
