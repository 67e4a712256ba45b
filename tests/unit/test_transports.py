"""`mbrl_control.cli.transports`: UDP unless the user chose."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from mbrl_control.cli.locations import launch_file
from mbrl_control.cli.transports import PROFILE, PROFILE_VARIABLES, transports

RANGE, BUILTIN = "ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_BUILTIN_TRANSPORTS"


@pytest.mark.parametrize(
    ("given", "at_home"), [({}, True), ({RANGE: "LOCALHOST"}, True), ({RANGE: "localhost"}, False)], ids=str
)
def test_a_graph_within_its_machine_has_the_profile(given: dict[str, str], at_home: bool) -> None:
    found = transports(given, at_home)
    assert found.pop(RANGE) == "SYSTEM_DEFAULT"
    assert found == {PROFILE_VARIABLES[0]: str(launch_file(PROFILE))}
    older = transports(given | {"ROS_DISTRO": "jazzy"}, at_home)
    assert older == {RANGE: "SYSTEM_DEFAULT", PROFILE_VARIABLES[1]: str(launch_file(PROFILE))}


@pytest.mark.parametrize(
    ("given", "at_home"), [({}, False), ({RANGE: "SUBNET"}, True), ({RANGE: "SUBNET"}, False)], ids=str
)
def test_a_graph_in_the_network_keeps_its_range(given: dict[str, str], at_home: bool) -> None:
    assert transports(given, at_home) == {BUILTIN: "UDPv4"}


@pytest.mark.parametrize("name", [BUILTIN, *PROFILE_VARIABLES, "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS"])
def test_what_the_user_chose_is_kept(name: str) -> None:
    assert transports({name: "x"}, at_home=False) == {}
    assert transports({name: "x"}, at_home=True) == {RANGE: "LOCALHOST"}
    assert transports({name: "x", RANGE: "SUBNET"}, at_home=True) == {RANGE: "SUBNET"}


def test_a_graph_within_a_graph_is_where_that_is() -> None:
    outer = transports({}, at_home=True)
    assert transports(outer, at_home=True) == {RANGE: "SYSTEM_DEFAULT"}


def test_the_profile_listens_on_the_loopback_only() -> None:
    names = {"d": "http://www.eprosima.com"}
    root = ElementTree.parse(launch_file(PROFILE)).getroot()
    assert [entry.text for entry in root.findall(".//d:interfaceWhiteList/d:address", names)] == ["127.0.0.1"]
    assert [entry.text for entry in root.findall(".//d:type", names)] == ["UDPv4"]
    assert root.findtext(".//d:useBuiltinTransports", namespaces=names) == "false"
