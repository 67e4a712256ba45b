"""Names on both sides of the deployed graphs; torch-free, so that a control process can check them."""

STEP_INPUTS = ("state", "action")
STEP_OUTPUTS = ("next_state", "mean", "variance")
ACTIONS = "actions"
ROLLOUT_INPUTS = ("state", ACTIONS, "goal_position", "goal_joint", "weights")
GRADIENT_INPUTS = (*ROLLOUT_INPUTS, "trust", "obstacles")
FULL_INPUTS = (*GRADIENT_INPUTS, "noise", "shuffle", "order", "counted")
"""Of the rollout with a trust, particles and obstacles."""
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
BATCH, PARTICLES, OBSTACLES, SCENARIOS = "sequences", "particles", "obstacles", "scenarios"
"""Names of the open axes: whoever opens a graph fixes them. Scenarios: particles times members."""
GRADIENT_OUTPUTS = ("cost", "gradient")
JACOBIAN_INPUTS = ("state", ACTIONS, "goal_position", "goal_joint", "weights", "obstacles")
JACOBIAN_OUTPUTS = ("motion_after", "jacobian", "stage_gradient", "stage_hessian")
