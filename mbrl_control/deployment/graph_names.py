"""Names on both sides of the two deployed graphs; torch-free, so that a control process can check them."""

STEP_INPUTS = ("state", "action")
STEP_OUTPUTS = ("next_state", "mean", "variance")
ROLLOUT_INPUTS = ("state", "actions", "goal_position", "goal_joint", "weights")
ROLLOUT_OUTPUTS = ("cost", "epistemic", "aleatoric", "terms", "position", "velocity", "effort", "variance")
