"""Names on both sides of the two deployed graphs; torch-free, so that a control process can check them."""

STEP_INPUTS = ("state", "action")
STEP_OUTPUTS = ("next_state", "mean", "variance")
ROLLOUT_INPUTS = ("state", "actions", "goal_position", "goal_joint", "weights")
ROLLOUT_BATCH_AXES = {
    "cost": 1,
    "epistemic": 0,
    "aleatoric": 0,
    "terms": 1,
    "position": 0,
    "velocity": 0,
    "effort": 0,
    "variance": 0,
}
"""Which axis of an output counts the sequences."""
ROLLOUT_OUTPUTS = tuple(ROLLOUT_BATCH_AXES)
BATCH = "sequences"
"""Name of the open axis of `rollout.onnx`."""
