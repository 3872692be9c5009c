"""`--labels` takes words up to the next option."""

import pytest

from groundling.cli.arguments import repeat_option


@pytest.mark.parametrize(
    ("arguments", "expanded"),
    [
        pytest.param([], [], id="empty"),
        pytest.param(["a.jpg"], ["a.jpg"], id="no option"),
        pytest.param(["--labels"], [], id="no word"),
        pytest.param(["--labels", "--json"], ["--json"], id="no word before an option"),
        pytest.param(["--labels", "cat"], ["--labels", "cat"], id="one word"),
        pytest.param(
            ["a.jpg", "--labels", "a cat", "dog", "--json", "b.jpg"],
            ["a.jpg", "--labels", "a cat", "--labels", "dog", "--json", "b.jpg"],
            id="up to the next option",
        ),
        pytest.param(
            ["--labels", "cat", "dog", "--", "a.jpg"], ["--labels", "cat", "--labels", "dog", "--", "a.jpg"], id="--"
        ),
        pytest.param(["--", "--labels", "a", "b"], ["--", "--labels", "a", "b"], id="after --"),
        pytest.param(["--labels=cat", "a.jpg"], ["--labels=cat", "a.jpg"], id="with ="),
        pytest.param(["--labels", "a", "--labels", "b"], ["--labels", "a", "--labels", "b"], id="given twice"),
        pytest.param(["--labels", "", "b"], ["--labels", "", "--labels", "b"], id="blank word"),
    ],
)
def test_repeat_option(arguments, expanded):
    assert repeat_option(arguments, "--labels") == expanded
