"""Every error that groundling raises on purpose.

Each class is also the built-in class that a caller would expect, so `except ValueError` keeps working.
"""


class GroundlingError(Exception):
    """Base class: the message says what was given, what is allowed and what to do."""


class ConfigError(GroundlingError, ValueError):
    """A configuration value or combination is not valid."""


class CheckpointError(GroundlingError, OSError):
    """A checkpoint's files are missing, damaged or do not fit the model."""


class PromptError(GroundlingError, ValueError):
    """The words given do not make a usable prompt."""


class ImageError(GroundlingError, ValueError):
    """The picture given cannot be used."""


class DatasetError(GroundlingError, ValueError):
    """Annotations are missing, inconsistent or in an unknown format."""


class MissingExtraError(GroundlingError, ImportError):
    """A feature needs a package that an optional extra installs."""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """Build the error for an optional package that is not installed.

    Args:
        package: the package that could not be imported, such as "pycocotools".
        extra: the name of groundling's extra that installs it.
        purpose: what needs it, as the subject of a sentence, such as "Reading masks".
    """
    return MissingExtraError(
        f"{purpose} needs the package {package!r}, which is not installed. "
        f"Install it with: pip install 'groundling[{extra}]'"
    )
