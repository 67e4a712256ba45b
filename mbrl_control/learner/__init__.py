"""The retraining service: watches the logs of runs and decides when it is worth to learn again. Trains nothing itself."""
