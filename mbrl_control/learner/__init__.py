"""The retraining service: watches logs and decides when to learn again. Trains nothing itself."""
