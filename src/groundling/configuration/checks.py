"""Range checks that the configurations share; each message says what was given and what is allowed."""

from groundling.errors import ConfigError

ACTIVATIONS = ("relu", "gelu", "silu", "swish", "tanh", "sigmoid", "leaky_relu")


def at_least(owner: str, minimum: int, **values: int) -> None:
    """Require every value to be at least `minimum`."""
    for name, value in values.items():
        if value < minimum:
            raise ConfigError(f"{owner}.{name} must be at least {minimum}, but got {value}.")


def at_most(owner: str, maximum: int, **values: float) -> None:
    """Require every value to be at most `maximum`: far above any model, below what would hang or fill the memory."""
    for name, value in values.items():
        if value > maximum:
            raise ConfigError(f"{owner}.{name} must be at most {maximum}, but got {value}.")


def probability(owner: str, **values: float) -> None:
    """Require every value to be in [0, 1): it is the chance that something is dropped."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ConfigError(f"{owner}.{name} is a drop probability and must be in [0, 1), but got {value}.")


def positive(owner: str, **values: float) -> None:
    """Require every value to be a finite number above 0."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ConfigError(f"{owner}.{name} must be a finite number above 0, but got {value}.")


def one_of(owner: str, name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Require a value to be one of a few words."""
    if value not in allowed:
        raise ConfigError(f"{owner}.{name} must be one of {', '.join(allowed)}, but got {value!r}.")


def divisible(owner: str, name: str, value: int, divisor_name: str, divisor: int) -> None:
    """Require `value` to be a multiple of `divisor`."""
    if divisor < 1 or value % divisor:
        raise ConfigError(f"{owner}.{name}={value} must be a multiple of {divisor_name}={divisor}. Change one of them.")
