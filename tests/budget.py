"""A run with a time limit ends with an account, not with a kill: what there was no time for is left out, and named.

`MBRL_TESTS_UNTIL` (seconds since the epoch) is the time after which no test starts; without it every test runs.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

# What breaks most often and costs least comes first; what builds, trains or launches comes last.
ORDER = ("architecture", "unit", "oracle", "contract", "timing", "sim", "ros", "launch")
OF_WORKER = "not_run_files"  # what a worker of pytest-xdist hands to its controller when it ends
not_run_files: Counter[str] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (*ORDER, item.path.parent.name).index(item.path.parent.name))


@pytest.hookimpl(tryfirst=True)  # in the place of the whole test: to skip thousands takes minutes on a slow machine
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    if not is_over(os.environ.get("MBRL_TESTS_UNTIL"), time.time()):
        return None
    not_run_files[item.location[0]] += 1
    return True


def is_over(until: str | None, now: float) -> bool:
    return bool(until) and now > float(until)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[OF_WORKER] = dict(not_run_files)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    not_run_files.update(getattr(node, "workeroutput", {}).get(OF_WORKER, {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not_run_files:
        terminalreporter.section(f"not run: {not_run_files.total()} tests, the time limit was reached")
        for file, tests in sorted(not_run_files.items()):
            terminalreporter.line(f"{file}: {tests}")
