"""What people read when something goes wrong: a message in the page, never a stack trace."""

import functools
import html
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import gradio as gr

from groundling.errors import GroundlingError

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


def told(work: Callable[P, R]) -> Callable[P, R]:
    """Make an error of a handler of the page a message in the page."""

    @functools.wraps(work)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except Exception as error:
            raise as_message(error) from error

    return wrapped


def told_on_the_way(work: Callable[P, Iterator[R]]) -> Callable[P, Iterator[R]]:
    """Do the same for a handler that yields."""

    @functools.wraps(work)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        try:
            yield from work(*args, **kwargs)
        except Exception as error:
            raise as_message(error) from error

    return wrapped


def as_message(error: Exception) -> gr.Error:
    """Say an error in the page; of one that is groundling's own fault the log says where it was raised.

    What it says is not logged: it may quote a label or the name of a file.
    """
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, GroundlingError):
        text = str(error)
    elif type(error).__name__ == "OutOfMemoryError":
        text = "The device's memory is full. Use a smaller picture, or start groundling app with --dtype bfloat16."
    else:
        places = "".join(traceback.format_tb(error.__traceback__))
        logger.error("A request failed with %s, raised at\n%s", type(error).__name__, places.rstrip())
        text = "Something went wrong in groundling itself. The terminal that runs it says what."
    return gr.Error(html.escape(text, quote=False), print_exception=False)
