"""Real-time model-based control of robot arms: learns the dynamics from the arm's own logs."""
