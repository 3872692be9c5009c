"""`--labels` and `--negatives` take words up to the next option, which click cannot do by itself."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

WITH_WORDS = ("--labels", "--negatives")


class LabelsCommand(TyperCommand):
    """A command in which `--labels a b` means `--labels a --labels b`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat such an option before each of its words, then parse as usual."""
        for option in WITH_WORDS:
            args = repeat_option(args, option)
        return super().parse_args(ctx, args)


def repeat_option(arguments: Sequence[str], option: str) -> list[str]:
    """Write an option before each of the words that follow it, up to the next option or `--`.

    The option without any word is left out, and the command says that nothing is named.
    """
    expanded: list[str] = []
    index = 0
    while index < len(arguments):
        if arguments[index] == "--":
            return [*expanded, *arguments[index:]]
        if arguments[index] != option:
            expanded.append(arguments[index])
            index += 1
            continue
        end = index + 1
        while end < len(arguments) and not arguments[end].startswith("-"):
            end += 1
        words = arguments[index + 1 : end]
        expanded += [part for word in words for part in (option, word)]
        index = end
    return expanded
