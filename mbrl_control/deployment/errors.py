"""Errors of the deployment stage."""


class BundleError(ValueError):
    """A bundle or registry that must not be used; the message names file, field and remedy."""


class KeysError(BundleError):
    """Keys that must not be used, or a signature that none of them vouches for."""


class ActiveChanged(BundleError):
    """Another version became active while this one was being exchanged."""


class ParityError(ValueError):
    """An exported graph that does not compute what its torch model computes."""
