"""Errors of the replay stage."""


class TooLittleData(ValueError):
    """The logs hold too little usable motion; the message says how much more is needed."""


class DifferentArms(ValueError):
    """The logs given together are not of one arm."""
