"""Everything that sadinet raises on purpose.

SadinetError            the user can mend it; the message says what is wrong, where, and what to do
├── ConfigError         an experiment, an option or a keypoint set that makes no sense
├── DataError           a data set, an annotation or a prediction file
├── ImageError          a picture (or video) that cannot be read or must not be
├── TrainingError       a training that cannot go on; its last good state is kept
│   └── Diverged        because its loss is no longer finite
├── Stopped             a training that was asked to stop, and did after storing its state
└── CheckpointError     weights that are missing, damaged or of another experiment
"""


def in_one_line(error: Exception) -> str:
    """What somebody else's error says, for the middle of a message of ours; its name if it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__


class SadinetError(Exception):
    """A problem the user can mend; the message names the file or value and what to do."""


class ConfigError(SadinetError):
    """An experiment, option or keypoint set that makes no sense."""


class DataError(SadinetError):
    """A data set, annotation or prediction file that is missing, incomplete or wrong."""


class ImageError(SadinetError):
    """A picture that cannot be read, or is refused for its size."""


class TrainingError(SadinetError):
    """A training that cannot go on; its last good state is kept."""


class Diverged(TrainingError):
    """A training whose loss is no longer finite: of some experiments, a result."""


class Stopped(SadinetError):
    """A training that was asked to stop, and did after storing its state.

    Attributes:
        signal: The signal's number.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class CheckpointError(SadinetError):
    """Weights that are missing, damaged, or belong to another experiment."""
