"""Errors of the deployment stage."""


class BundleError(ValueError):
    """A bundle or registry that must not be used; the message names file, field and remedy."""


class ParityError(ValueError):
    """An exported graph that does not compute what its torch model computes."""
