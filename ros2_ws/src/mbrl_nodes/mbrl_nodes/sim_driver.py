"""The simulated arm behind the driver's topics: 250 Hz, in step with the steady clock, brakes on silence.

The physics follows the clock: a late tick makes up every step that is due, with the command held. The watchdog counts
ticks without a command, so a stall of this process alone does not read as silence of the relay; no command at all
after a stall clamps them within 20 ms of the time that is made up.
"""

from __future__ import annotations

import threading

import numpy as np
from mbrl_msgs.srv import AttachPayload, InjectFault
from sensor_msgs.msg import JointState

from mbrl_control.cadence import Tick
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.controller_parameters import controller_of, declare_controller
from mbrl_nodes.convert import sample_to_joint_state
from mbrl_nodes.runtime import STATE_QOS, GraphNode, run
from mbrl_nodes.sim_controller import SimController
from sim.engines import open_arm, simulation_facts, simulator_named
from sim.faults import FaultyArm
from sim.randomization import randomized_plant
from sim.truth_file import TruthWriter

TICK_NS = 4_000_000
SILENT_TICKS = 5
"""20 ms without a command clamp the brakes."""


class SimDriver(GraphNode):
    """Owns the simulator; everything that touches it holds ``_lock``."""

    def __init__(self) -> None:
        super().__init__("sim_driver")
        declare_arm(self)
        self.declare("simulator", "mujoco", "mujoco or pybullet")
        self.declare("truth_file", "", "new file for the simulator's own state at every physics step; empty: none")
        self.declare("seed", 0, "seed of the measurement noise", (0, 2**31 - 1))
        self.declare("randomization_seed", -1, "seed of a plant from the arm's ranges; -1: none", (-1, 2**31 - 1))
        self.declare("allow_faults", False, "accept sim/inject")
        declare_controller(self)
        self._lock = threading.Lock()
        self._sim: FaultyArm | None = None
        self._truth: TruthWriter | None = None
        self._silent_ticks = SILENT_TICKS
        self._counts = {"caught_up_steps": 0, "watchdog_trips": 0}

    def setup(self) -> None:
        path, seed = self.get_parameter("arm").value, self.get_parameter("seed").value
        simulator = simulator_named(self.get_parameter("simulator").value)
        arm = arm_of(self)
        controller = controller_of(self, arm)
        drawn = self.get_parameter("randomization_seed").value
        plant = randomized_plant(path, drawn)
        self._sim = FaultyArm(open_arm(simulator, path, seed, self.now_ns(), arm.interface, plant))
        self._sim.brake(True)
        truth_file = self.get_parameter("truth_file").value
        if truth_file:
            self._truth = TruthWriter(truth_file, self._sim.arm, simulation_facts(simulator, self._sim, drawn))
        self._states = self.create_publisher(JointState, "joint_states", STATE_QOS)
        self._controller = SimController(self, self._sim.arm, controller, self.get_parameter("controller_name").value)
        self.create_service(AttachPayload, "sim/attach_payload", self._on_payload)
        self.create_service(InjectFault, "sim/inject", self._on_fault)

    def start(self) -> None:
        # Time while inactive is not made up: the simulated time jumps to now.
        self._require_sim().set_time(self.now_ns())
        self.run_control(TICK_NS, self._tick)

    def stop(self) -> None:
        with self._lock:
            self._require_sim().brake(True)
            self._controller.forget()
            self._silent_ticks = SILENT_TICKS

    def release(self) -> None:
        if self._truth is not None:
            self._truth.close()
            self._truth = None

    def diagnose(self) -> dict[str, str]:
        refused = 0 if self._sim is None else self._controller.refused
        return {name: str(value) for name, value in {**self._counts, "refused_commands": refused}.items()}

    def _tick(self, tick: Tick) -> None:
        with self._lock:
            sim = self._require_sim()
            heard = self._serve_command(sim)
            due = (tick.deadline_ns - sim.time_ns) // sim.period_ns
            self._counts["caught_up_steps"] += max(0, due - TICK_NS // sim.period_ns)
            for step in range(due):
                if not heard and step * sim.period_ns == SILENT_TICKS * TICK_NS:
                    self._clamp(sim)
                sim.step()
                if self._truth is not None:
                    self._truth.write(sim.truth())
            sample = sim.sensor()
        if sample is not None:
            self._states.publish(sample_to_joint_state(sample, sim.arm.joint_names, sim.arm.base_frame))

    def _serve_command(self, sim: FaultyArm) -> bool:
        """Apply the newest command since the last tick, if any; too many ticks without one clamp the brakes."""
        position, time_s = sim.truth().position, sim.time_ns * 1e-9
        command = self._controller.take(position, time_s)
        if command is not None:
            if self._silent_ticks >= SILENT_TICKS:
                sim.brake(False)
            self._silent_ticks = 0
            sim.command(command)
            return True
        self._silent_ticks += 1
        if self._silent_ticks == SILENT_TICKS:
            self._clamp(sim)
        elif self._silent_ticks < SILENT_TICKS and (held := self._controller.again(position, time_s)) is not None:
            sim.command(held)
        return False

    def _clamp(self, sim: FaultyArm) -> None:
        self._silent_ticks = SILENT_TICKS
        self._counts["watchdog_trips"] += 1
        self._controller.forget()
        sim.brake(True)

    def _on_payload(self, request: AttachPayload.Request, response: AttachPayload.Response) -> AttachPayload.Response:
        try:
            with self._lock:
                self._require_sim().attach_payload(request.mass, np.array(request.offset))
            response.success = True
        except ValueError as error:
            response.message = str(error)
        return response

    def _on_fault(self, request: InjectFault.Request, response: InjectFault.Response) -> InjectFault.Response:
        if not self.get_parameter("allow_faults").value:
            response.message = "faults are off; start sim_driver with allow_faults:=true"
            return response
        try:
            with self._lock:
                sim = self._require_sim()
                if request.fault == "clear":
                    sim.clear()
                else:
                    sim.inject(request.fault, request.magnitude, request.duration)
            response.success = True
        except ValueError as error:
            response.message = str(error)
        return response

    def _require_sim(self) -> FaultyArm:
        if self._sim is None:
            raise RuntimeError("sim_driver: not configured")
        return self._sim


def main() -> None:
    run(SimDriver)


if __name__ == "__main__":
    main()
