"""Models of the arm: nominal prior, learned probabilistic ensemble, kinematics in torch."""
