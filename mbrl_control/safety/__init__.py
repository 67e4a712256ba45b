"""Plan to safe command: an ordered, pure pipeline, the operator's state machine and the watchdogs."""
