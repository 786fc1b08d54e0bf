"""Class lists of published checkpoints, in the order of their networks' outputs."""

from pathlib import Path

from models.datasets.thumos import THUMOS14_CLASSES
from models.errors import InputError

THUMOS14 = "thumos14"


def read_classes(source: str) -> tuple[str, ...]:
    """Return the classes named by ``thumos14`` or by a text file with one label per line.

    Raises:
        InputError: there is no such file, it is no text, empty, or names a class twice.
    """
    if source == THUMOS14:
        return THUMOS14_CLASSES
    try:
        lines = Path(source).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"There is no readable text file {source}; give one label per line or thumos14."
        raise InputError(message) from error
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels or len(set(labels)) != len(labels):
        message = f"The class list {source} is empty or names a class twice; give each label once."
        raise InputError(message)
    return labels
