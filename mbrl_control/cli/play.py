"""Starts the player of a log as a process of its own and waits for its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from mbrl_control.cli.errors import Refused
from mbrl_control.cli.transports import transports
from mbrl_control.episode_log.folder import log_files
from mbrl_control.episode_log.playback import Playback, under

PLAYER = "mbrl_nodes.log_player"


def play(log: Path, wanted: Playback, rate: float, prefix: str) -> None:
    """Ctrl-C reaches the player, which ends in order; Refused when it fails, LogError for no log and a bad prefix."""
    log_files(log)
    under(prefix, "joint_states")
    environment = os.environ | transports(os.environ, at_home=True)
    player = subprocess.Popen([sys.executable, "-m", PLAYER, *arguments(log, wanted, rate, prefix)], env=environment)
    try:
        status = player.wait()
    except KeyboardInterrupt:
        status = player.wait()
    if status:
        raise Refused(f"{log}: could not be played; see above")


def arguments(log: Path, wanted: Playback, rate: float, prefix: str) -> list[str]:
    """Of the node; every value quoted as YAML, for `-p` takes nothing else."""
    values = {
        "log": str(log),
        "rate": float(rate),
        "start": float(wanted.start_s),
        "seconds": float(wanted.seconds),
        "prefix": prefix,
        "topics": list(wanted.topics) or [""],
    }
    return ["--ros-args", *(part for name, value in values.items() for part in ("-p", f"{name}:={json.dumps(value)}"))]
