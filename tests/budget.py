"""A run with a time limit ends with an account, not with a kill: what there was no time for is skipped, and named.

`MBRL_TESTS_UNTIL` (seconds since the epoch) is the time after which no test starts; without it every test runs.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

REASON = "no time left for it: see 'not run' at the end"
# What breaks most often and costs least comes first; what builds, trains or launches comes last.
ORDER = ("architecture", "unit", "oracle", "contract", "timing", "sim", "ros", "launch")
not_run_files: Counter[str] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (*ORDER, item.path.parent.name).index(item.path.parent.name))


@pytest.hookimpl(tryfirst=True)  # before any fixture: those are what takes the time
def pytest_runtest_setup(item: pytest.Item) -> None:
    if is_over(os.environ.get("MBRL_TESTS_UNTIL"), time.time()):
        pytest.skip(REASON)


def is_over(until: str | None, now: float) -> bool:
    return bool(until) and now > float(until)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and REASON in str(report.longrepr):
        not_run_files[report.location[0]] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not_run_files:
        terminalreporter.section(f"not run: {not_run_files.total()} tests, the time limit was reached")
        for file, tests in sorted(not_run_files.items()):
            terminalreporter.line(f"{file}: {tests}")
