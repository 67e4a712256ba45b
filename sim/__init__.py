"""Simulated arms: one protocol, its MuJoCo implementation, the truth file and the generated robot files."""
