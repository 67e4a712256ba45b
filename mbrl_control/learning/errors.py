"""Errors of the learning stage."""


class DataError(ValueError):
    """Rows that cannot be learned from; the message names field and remedy."""


class SweepError(ValueError):
    """A sweep that cannot be tried; the message names file, field and remedy."""


class ScaleOutError(ValueError):
    """A cluster that cannot be reached, or work on it that failed; the message says where and what to do."""
