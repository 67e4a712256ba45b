"""What stands in a log decodes by the log alone, in libraries that know none of its messages: as Foxglove has it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mbrl_control.episode_log.folder import log_files
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.recovery import recover
from mbrl_control.episode_log.rotation import FolderWriter
from mbrl_control.episode_log.schema import GRAPH_TOPICS, QosClass, Topic
from tests.unit import foreign_recordings as foreign
from tests.unit.synthetic_log import STORE, T0_NS

SEPARATOR = "=" * 80
PRIMITIVES = {"bool", "byte", "char", "float32", "float64", "string", "wstring"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


def name_of(topic: Topic) -> str:
    return topic.name if topic.name.startswith("/") else f"/arm/{topic.name}"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One message of every topic of the graph, as the logger writes them."""
    folder = tmp_path_factory.mktemp("schemas") / "log"
    with FolderWriter(folder) as writer:
        for topic in GRAPH_TOPICS:
            writer.add_topic(name_of(topic), topic.type, event=topic.qos is not QosClass.STREAM)
        for number, topic in enumerate(GRAPH_TOPICS):
            body = STORE.serialize_cdr(filled(topic.type, count(number)), topic.type)
            writer.write(name_of(topic), bytes(body), T0_NS + number)
    return folder


def filled(kind: str, numbers: Iterator[int]) -> Any:
    """A message with another value in every field, two entries in every list."""
    return STORE.types[kind](**{name: value(spec, numbers) for name, spec in STORE.fielddefs[kind][1]})


def value(spec: Any, numbers: Iterator[int]) -> Any:
    node, detail = spec
    if node == Nodetype.NAME:
        return filled(detail, numbers)
    if node == Nodetype.BASE:
        number = next(numbers)
        made = {"string": f"text {number}", "bool": number % 2 == 0, "float32": number + 0.5, "float64": number + 0.25}
        return made.get(detail[0], number % 100)
    element, size = detail
    entries = [value(element, numbers) for _ in range(size if node == Nodetype.ARRAY else 2)]
    if element[0] == Nodetype.NAME or element[1][0] == "string":
        return entries
    return np.array(entries, dtype={"byte": "uint8", "char": "uint8"}.get(element[1][0], element[1][0]))


def files_of(log: Path, tmp_path: Path, kind: str) -> tuple[Path, ...]:
    """As written, as recovered, as imported from elsewhere."""
    if kind == "written":
        return (*log_files(log), *(path for path in sorted(log.glob("events_*.mcap")) if path.stat().st_size))
    if kind == "recovered":
        recover(log, tmp_path / "one.mcap")
        return (tmp_path / "one.mcap",)
    foreign.write_csv(tmp_path / "a.csv", foreign.regular(0.4))
    foreign.run(tmp_path / "a.csv", foreign.TABLE, tmp_path / "imported")
    return log_files(tmp_path / "imported")


@pytest.mark.parametrize("kind", ["written", "recovered", "imported"])
def test_the_mcap_library_decodes_every_topic_by_its_embedded_schema(log: Path, tmp_path: Path, kind: str) -> None:
    """With every value where it belongs: against the bytes as rosbags reads them."""
    seen = set()
    for path in files_of(log, tmp_path, kind):
        with path.open("rb") as stream:
            reader = make_reader(stream, decoder_factories=[DecoderFactory()])
            assert reader.get_header().profile == "ros2"
            for schema, channel, raw, decoded in reader.iter_decoded_messages():
                assert (schema.encoding, channel.message_encoding) == ("ros2msg", "cdr")
                wanted = STORE.deserialize_cdr(raw.data, schema.name)
                assert_same(decoded, wanted)
                seen.add(channel.topic)
    every = {name_of(topic) for topic in GRAPH_TOPICS}
    assert seen == every if kind != "imported" else len(seen) == 4


def assert_same(decoded: object, wanted: object) -> None:
    for name, (kind, _) in STORE.fielddefs[wanted.__msgtype__][1]:  # type: ignore[attr-defined]
        left, right = getattr(decoded, name), getattr(wanted, name)
        if kind == Nodetype.NAME:
            assert_same(left, right)
        elif isinstance(right, np.ndarray):
            np.testing.assert_array_equal(np.asarray(left), right)
        elif isinstance(right, list) and right and hasattr(right[0], "__msgtype__"):
            assert len(left) == len(right)
            for one, other in zip(left, right, strict=True):
                assert_same(one, other)
        else:
            assert left == right, name


@pytest.mark.parametrize("topic", GRAPH_TOPICS, ids=lambda topic: topic.name)
def test_a_schema_holds_every_type_that_it_uses_and_once(log: Path, topic: Topic) -> None:
    """Foxglove has no definitions of its own: a type without one makes the topic unreadable there."""
    (raw,) = [raw for raw in LogReader(log).raw([topic]) if raw.channel.topic == name_of(topic)]
    first, *parts = raw.channel.definition.split(f"{SEPARATOR}\nMSG: ")
    heads = [part.split("\n", 1)[0] for part in parts]
    defined = set(heads)
    assert len(defined) == len(heads)
    own = topic.type.split("/")[0]
    texts = [(own, first), *((part.split("/")[0], part.split("\n", 1)[1]) for part in parts)]
    for package, text in texts:
        for line in text.splitlines():
            words = line.split("#")[0].split()
            if len(words) < 2 or "=" in words[1]:
                continue
            used = words[0].split("[")[0].split("<=")[0]
            if used not in PRIMITIVES:
                assert (used if "/" in used else f"{package}/{used}") in defined, line
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(raw.channel.definition, topic.type))
    store.deserialize_cdr(raw.cdr, topic.type)
