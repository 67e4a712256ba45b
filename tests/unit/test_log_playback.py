"""What is played of a log, in which order and when."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.cli.play import arguments, play
from mbrl_control.episode_log.definitions import full_definition
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.playback import (
    REORDER_NS,
    Due,
    Playback,
    channels,
    in_order,
    pace,
    played,
    require_same_layout,
    under,
)
from mbrl_control.episode_log.reader import Channel, LogReader, RawMessage
from mbrl_control.episode_log.rotation import FolderWriter
from mbrl_control.episode_log.schema import ESTOP, JOINT_STATES, PHASE
from tests.unit.synthetic_log import message

S = 1_000_000_000
CHANNEL = Channel("/arm/phase", PHASE.type, "")


def raw(time_ns: int, number: int) -> RawMessage:
    return RawMessage(CHANNEL, time_ns, time_ns, number, b"")


@given(st.lists(st.integers(0, 20 * S), max_size=60), st.randoms(use_true_random=False))
def test_messages_less_than_a_second_out_of_order_come_sorted_and_all_of_them(times: list[int], random) -> None:
    delayed = sorted(enumerate(sorted(times)), key=lambda pair: pair[1] + random.randrange(REORDER_NS))
    out = [(m.log_time_ns, m.sequence) for m in in_order(iter([raw(time, n) for n, time in delayed]))]
    assert [time for time, _ in out] == sorted(times)
    assert sorted(number for _, number in out) == list(range(len(times)))


def test_one_that_stands_further_behind_is_played_not_lost() -> None:
    assert [m.log_time_ns for m in in_order(iter([raw(5 * S, 0), raw(0, 1), raw(6 * S, 2)]))] == [0, 5 * S, 6 * S]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Ten seconds: a phase (latched) every 3 s, ten states a second, /arm/other from nobody's schema at 9 s."""
    folder = tmp_path / "log"
    with FolderWriter(folder) as writer:
        for topic, kind in (
            ("/arm/phase", PHASE.type),
            ("/arm/joint_states", JOINT_STATES.type),
            ("/other", ESTOP.type),
        ):
            writer.add_topic(topic, kind)
        for tenth in range(100):
            now = 7 * S + tenth * S // 10
            if tenth % 30 == 0:
                writer.write("/arm/phase", message(PHASE, data=str(tenth)), now)
            writer.write("/arm/joint_states", b"\0" * 8, now)
        writer.write("/other", message(ESTOP, data=True), 16 * S)
    return folder


def test_a_log_is_played_from_the_offset_with_what_was_latched_before(log: Path) -> None:
    due = list(played(LogReader(log), Playback(start_s=4.0, seconds=1.5)))
    assert (due[0].offset_ns, due[0].message.channel.topic, due[0].message.log_time_ns) == (0, "/arm/phase", 10 * S)
    assert [d.offset_ns for d in due[1:]] == [tenth * S // 10 for tenth in range(16)]


def test_an_offset_beyond_the_end_still_gives_what_was_latched(log: Path) -> None:
    due = list(played(LogReader(log), Playback(start_s=100.0)))
    assert [(d.offset_ns, d.message.log_time_ns) for d in due] == [(0, 16 * S)]


def test_only_the_topics_named_with_or_without_namespace(log: Path) -> None:
    for name in ("phase", "/arm/phase"):
        assert [d.offset_ns // S for d in played(LogReader(log), Playback(topics=(name,)))] == [0, 3, 6, 9]
    assert [c.topic for c in channels(LogReader(log), Playback(topics=("other",)))] == ["/other"]
    with pytest.raises(LogError, match="holds no goal"):
        channels(LogReader(log), Playback(topics=("phase", "goal")))


def test_the_rate_stretches_the_log_and_a_late_player_does_not_wait() -> None:
    now = [50 * S]
    left = pace(0.5, lambda: now[0])
    assert left(Due(S, raw(0, 0))) == pytest.approx(2.0)
    now[0] += 3 * S
    assert left(Due(S, raw(0, 0))) == pytest.approx(-1.0)


@pytest.mark.parametrize("prefix", ["played", "/played", "played/"])
def test_nothing_is_played_under_its_own_name(prefix: str) -> None:
    assert (
        under(prefix, "/arm/forward_velocity_controller/commands") == "/played/arm/forward_velocity_controller/commands"
    )


def test_the_nodes_arguments_are_yaml_of_the_declared_types() -> None:
    given = arguments(Path("a b/log"), Playback(1, 0, ("belief",)), 2, "played")
    values = dict(part.split(":=", 1) for part in given[2::2])
    assert {name: yaml.safe_load(value) for name, value in values.items()} == {
        "log": "a b/log", "rate": 2.0, "start": 1.0, "seconds": 0.0, "prefix": "played", "topics": ["belief"],
    }  # fmt: skip


def test_messages_that_are_laid_out_otherwise_today_are_not_played() -> None:
    installed = full_definition(JOINT_STATES.type)
    require_same_layout(Channel("/arm/joint_states", JOINT_STATES.type, "# another comment\n" + installed))
    assert "float64[] effort" in installed
    for definition in (
        installed.replace("float64[] effort", "float32[] effort"),
        installed.replace("float64[] effort", ""),
        installed.replace("uint32 nanosec", "uint64 nanosec"),  # of a type inside
        "float64[] position[",
    ):
        assert definition != installed
        with pytest.raises(LogError, match="/arm/joint_states: type: "):
            require_same_layout(Channel("/arm/joint_states", JOINT_STATES.type, definition))


@pytest.mark.parametrize("prefix", ["", "/", "arm", "replayed", "arm/played", "played//arm", "played arm", "played/.."])
def test_a_prefix_under_which_an_arm_may_listen_is_refused(tmp_path: Path, prefix: str) -> None:
    """A log without a namespace, played under that of an arm, would command it."""
    with pytest.raises(LogError, match=r"--prefix: .* does not begin with `played`"):
        under(prefix, "/forward_velocity_controller/commands")
    (tmp_path / "log_0.mcap").touch()
    with pytest.raises(LogError, match="--prefix"):
        play(tmp_path, Playback(), 1.0, prefix)
