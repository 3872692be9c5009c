"""Errors become messages."""

import logging

import gradio as gr
import pytest

from groundling.app.messages import told, told_on_the_way
from groundling.errors import PromptError


def fail(error):
    def work():
        raise error

    return work


def test_groundlings_errors_are_told_as_text():
    with pytest.raises(gr.Error) as caught:
        told(fail(PromptError("The label '<b>' is blank.")))()
    assert caught.value.message == "The label '&lt;b&gt;' is blank."
    assert not caught.value.print_exception


def test_of_other_errors_the_place_is_logged_and_nothing_that_they_quote(caplog):
    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error, match="Something went wrong in groundling itself"):
        told(fail(KeyError("a secret label")))()
    assert "KeyError" in caplog.text
    assert "test_messages.py" in caplog.text
    assert "raise error" in caplog.text
    assert "a secret label" not in caplog.text


def test_a_full_device():
    class OutOfMemoryError(RuntimeError):
        pass

    with pytest.raises(gr.Error, match="memory is full"):
        told(fail(OutOfMemoryError("CUDA")))()


def test_an_error_on_the_way():
    def work():
        yield 1
        raise PromptError("Too late.")

    steps = told_on_the_way(work)()
    assert next(steps) == 1
    with pytest.raises(gr.Error, match="Too late"):
        next(steps)
