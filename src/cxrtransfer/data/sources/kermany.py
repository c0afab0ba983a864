"""File names of the Kermany chest X-rays, doi:10.17632/rscbjbr9sj."""

import re

__all__ = ["kermany_patient_id"]

_NAMES = (
    # Version 2: person12_bacteria_34.jpeg, IM-0115-0001.jpeg, NORMAL2-IM-0095-0001-0002.jpeg
    re.compile(r"(person\d+_(?:bacteria|virus))_\d+"),
    re.compile(r"((?:NORMAL2-)?IM-\d+)-\d+"),
    # Version 3: BACTERIA-1008087-0001.jpeg, VIRUS-... and NORMAL-...
    re.compile(r"((?:BACTERIA|VIRUS|NORMAL)-\d+)-\d+"),
)


def kermany_patient_id(name: str) -> str | None:
    """Return the patient of a file of the Kermany chest X-rays, version 2 or 3.

    The patient id consists of the disease and a number: ``person12_bacteria`` and
    ``person12_virus`` are different children, because the patients of each disease were numbered
    separately. With these ids no patient of the original test split is in the training split;
    with the number alone most of them would be.

    Args:
        name: A file name, without folders.

    Returns:
        The patient, or None if it is not a file name of this data set.

    Example:
        >>> kermany_patient_id("person12_virus_34.jpeg")
        'person12_virus'
        >>> kermany_patient_id("NORMAL2-IM-0095-0001-0002.jpeg")
        'NORMAL2-IM-0095'
        >>> kermany_patient_id("holiday.jpeg") is None
        True
    """
    return next((match[1] for pattern in _NAMES if (match := pattern.match(name))), None)
