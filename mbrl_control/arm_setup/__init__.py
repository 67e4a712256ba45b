"""Bringing an own arm: what its files lack, what looks wrong in them, what to write. Never in a control process."""
