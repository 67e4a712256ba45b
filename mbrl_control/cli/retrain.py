"""stub"""


def retrain() -> None:
    pass
