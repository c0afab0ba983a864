"""Who is on an image, told from its file name."""

import re

__all__ = ["kermany_patient_id"]

_KERMANY_NAMES = (
    # Version 2: person12_bacteria_34.jpeg, IM-0115-0001.jpeg, NORMAL2-IM-0095-0001-0002.jpeg
    re.compile(r"(person\d+_(?:bacteria|virus))_\d+"),
    re.compile(r"((?:NORMAL2-)?IM-\d+)-\d+"),
    # Version 3: BACTERIA-1008087-0001.jpeg, and VIRUS and NORMAL alike
    re.compile(r"((?:BACTERIA|VIRUS|NORMAL)-\d+)-\d+"),
)


def kermany_patient_id(name: str) -> str | None:
    """Tell the patient from a file name of the Kermany chest X-rays, version 2 or 3.

    A patient is a disease and a number: ``person12_bacteria`` and ``person12_virus`` are not taken
    for the same child, because the two diseases were numbered apart. So read, no patient of the
    original test split occurs in train; by the number alone most of them would.

    Args:
        name: A file name, without folders.

    Returns:
        The patient, or None if the name is not of this data set.

    Example:
        >>> kermany_patient_id("person12_virus_34.jpeg")
        'person12_virus'
        >>> kermany_patient_id("NORMAL2-IM-0095-0001-0002.jpeg")
        'NORMAL2-IM-0095'
        >>> kermany_patient_id("holiday.jpeg") is None
        True
    """
    for pattern in _KERMANY_NAMES:
        if match := pattern.match(name):
            return match[1]
    return None
