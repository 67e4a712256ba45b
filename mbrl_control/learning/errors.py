"""Errors of the learning stage."""


class DataError(ValueError):
    """Rows that cannot be learned from; the message names field and remedy."""
