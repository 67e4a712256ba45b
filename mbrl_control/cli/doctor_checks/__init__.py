"""What `mbrl-control doctor` looks at: each module reads facts of the machine and judges them in pure functions."""
