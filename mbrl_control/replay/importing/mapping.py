"""`MAP.yaml`: what a source calls the joints, where its numbers are, and in which unit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from mbrl_control.command_interface import CommandInterface
from mbrl_control.episode_log.errors import LogError
from mbrl_control.robot import Arm
from mbrl_control.robot_file import YamlFile

Unit = Literal["rad", "deg"]
Stamp = Literal["header", "received"]
TimeUnit = Literal["s", "ms", "us", "ns"]
Columns = str | tuple[str, ...]
"""A pattern with `{joint}`, or one name per joint in the order of `joints`."""
Indices = tuple[Annotated[int, Field(ge=0, le=4095)], ...]
Milliseconds = Annotated[FiniteFloat, Field(gt=0.0, le=60_000.0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GridMap(_Part):
    """Onto which uniform grid a stream is brought."""

    period_ms: Milliseconds | None = None
    """None: the stream's usual (median) period, so that a uniform recording comes through as it is."""
    max_gap_ms: Milliseconds | None = None
    """A longer interval splits the recording. None: three usual periods."""


class StateTopic(_Part):
    """Messages with measured joints; fields are dotted names inside the message."""

    name: str
    stamp: Stamp = "header"
    position: str = "position"
    velocity: str = "velocity"
    effort: str = "effort"
    joints: tuple[str, ...] = ()
    """Order of the arrays, where messages do not name their joints."""


class CommandTopic(_Part):
    """Messages with joint commands."""

    name: str
    stamp: Stamp = "header"
    field: str | None = None
    """None: what the type is known for (`data`, `velocities`, `applied`, the field named as the interface)."""
    joints: tuple[str, ...] = ()
    enabled: str | None = None
    """A boolean field: false means that no command was in force."""


class Topics(_Part):
    """Of a bag or an MCAP file."""

    state: StateTopic
    command: CommandTopic


class StateColumns(_Part):
    """Of a table with measured joints."""

    file: str | None = None
    """In SOURCE, where that is a folder."""
    time: str
    time_unit: TimeUnit = "s"
    position: Columns
    velocity: Columns | None = None
    effort: Columns | None = None


class CommandColumns(_Part):
    """Of a table with commands: the same or another one."""

    file: str | None = None
    time: str
    time_unit: TimeUnit = "s"
    command: Columns
    enabled: str | None = None
    """A column of true and false: false means that no command was in force."""


class Tables(_Part):
    """Of CSV or Parquet files."""

    state: StateColumns
    command: CommandColumns
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","


class Hdf5(_Part):
    """Of a D4RL-style or Minari file: columns of its arrays, one per joint in the order of `joints`."""

    dt_s: Annotated[FiniteFloat, Field(gt=0.0, le=10.0)]
    """From one step to the next: these files do not say it."""
    observations: str = "observations"
    """Data set, inside an episode where there are episodes."""
    actions: str = "actions"
    position: Indices
    velocity: Indices | None = None
    effort: Indices | None = None
    command: Indices
    action_scale: tuple[FiniteFloat, ...] | None = None
    """Command per unit of action, one per joint: for actions scaled to -1..1."""


class ImportMap(_Part):
    """The whole file; exactly one of `topics`, `tables` and `hdf5`."""

    joints: dict[str, str]
    """Name in the source: name in the arm description."""
    interface: CommandInterface = CommandInterface.VELOCITY
    """What the commands are."""
    unit: Unit = "rad"
    """Of positions, velocities (per second) and velocity commands."""
    command_unit: Unit | None = None
    """Of velocity commands, where it differs."""
    payload_kg: Annotated[FiniteFloat, Field(ge=0.0)] = 0.0
    state: GridMap = GridMap()
    command: GridMap = GridMap()
    topics: Topics | None = None
    tables: Tables | None = None
    hdf5: Hdf5 | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ImportMap:
        given = [name for name in ("topics", "tables", "hdf5") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of topics, tables and hdf5 is needed, given: {given or 'none'}")
        return self

    def sources(self, arm: Arm) -> tuple[str, ...]:
        """Source names in the arm's order of joints."""
        by_joint = {joint: name for name, joint in self.joints.items()}
        return tuple(by_joint[joint] for joint in arm.joint_names)

    def order(self, arm: Arm) -> list[int]:
        """Place in `joints`, as written, of each joint of the arm."""
        written = list(self.joints)
        return [written.index(name) for name in self.sources(arm)]


def load_map(path: Path) -> ImportMap:
    """Read a map; LogError names the field. Keys given twice are refused."""
    if not path.is_file():
        raise LogError(path, "--map", "no such file", "write one: docs/importing.md has an example for each format")
    try:
        return ImportMap.model_validate(YamlFile(path).tree)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "map"
        hint = "the joints of these arms turn: write rad or deg" if field.endswith("unit") else "see docs/importing.md"
        raise LogError(path, field, first["msg"], hint) from error


def check_joints(path: Path, mapping: ImportMap, arm: Arm) -> None:
    """Every joint of the arm once, none besides, and as many columns; else LogError."""
    given, wanted = list(mapping.joints.values()), list(arm.joint_names)
    if sorted(given) != sorted(wanted):
        problem = f"lead to {given}, {arm.name} has {wanted}"
        raise LogError(path, "joints", problem, "write `source name: arm joint` once for every joint of the arm")
    for section in (mapping.tables and mapping.tables.state, mapping.tables and mapping.tables.command, mapping.hdf5):
        for field in ("position", "velocity", "effort", "command", "action_scale"):
            value = getattr(section, field, None)
            if isinstance(value, str) and "{joint}" not in value and arm.joints > 1:
                raise LogError(
                    path, field, f"{value!r} has no {{joint}}", "write a pattern, or a list with a name each"
                )
            if isinstance(value, tuple) and len(value) != arm.joints:
                problem = f"has {len(value)} entries, {arm.name} has {arm.joints} joints"
                raise LogError(path, field, problem, "give one per joint, in the order of `joints`")
