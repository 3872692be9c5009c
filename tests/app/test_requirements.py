"""Without a browser the page's tests are skipped, unless it is asked for."""

import pytest

from app.conftest import REQUIRED, import_or_skip, skip_unless_required


@pytest.mark.parametrize("value", [None, "", "0"])
def test_a_missing_browser_is_skipped(monkeypatch, value):
    monkeypatch.delenv(REQUIRED, raising=False) if value is None else monkeypatch.setenv(REQUIRED, value)
    with pytest.raises(pytest.skip.Exception, match="Chromium is not installed"):
        skip_unless_required("Chromium is not installed")


def test_a_missing_browser_is_a_failure_where_one_is_required(monkeypatch):
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="GROUNDLING_REQUIRE_BROWSER=1 asks for"):
        skip_unless_required("Chromium is not installed")
    with pytest.raises(pytest.fail.Exception, match="no_such_package is not installed"):
        import_or_skip("no_such_package")
