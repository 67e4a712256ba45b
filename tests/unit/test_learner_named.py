"""Which of several logs an error is about."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.learner.named import named_log

SAID = "mbrl-control: error: {}: belief.effort: is not finite; leave it out"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("out/run1", "out/run1"),
        ("out/run10", "out/run10"),
        ("out/run10/log_3.mcap", "out/run10"),
        ("out/run1/deep", "out/run1/deep"),
        ("out/run 2", "out/run 2"),
        ("out/run", "out/run"),
        ("out/run1.mcap", "out/run1.mcap"),
        ("other/out/run1", None),
        ("out/run11", None),
        ("out/run1-old", None),
    ],
)
def test_a_path_is_matched_whole_and_the_longest_wins(path: str, expected: str | None) -> None:
    names = ("out/run", "out/run1", "out/run10", "out/run1/deep", "out/run 2", "out/run1.mcap")
    for logs in (names, names[::-1]):
        found = named_log(SAID.format(path), [Path(name) for name in logs])
        assert found == (None if expected is None else Path(expected))


def test_the_log_that_is_named_first_counts_not_one_in_the_remedy() -> None:
    said = "mbrl-control: error: out/a: joint_names: are not those of out/b/log; keep them apart"
    assert named_log(said, [Path("out/b/log"), Path("out/a")]) == Path("out/a")


_NAMES = st.text(st.sampled_from("ab1._- "), min_size=1, max_size=6).map(str.strip).filter(lambda n: n not in ("", "."))


@given(st.lists(_NAMES, min_size=1, max_size=6, unique_by=lambda name: " ".join(name.split())), st.data())
def test_the_log_that_an_error_begins_with_is_found_whatever_the_others_are_called(
    names: list[str], data: st.DataObject
) -> None:
    logs = [Path("out", name) for name in names]
    bad = data.draw(st.sampled_from(logs))
    assert named_log(" ".join(SAID.format(bad).split()), logs) == bad
