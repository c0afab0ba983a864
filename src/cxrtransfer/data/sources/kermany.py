"""The pediatric chest X-rays of Kermany, Zhang and Goldbaum (2018), doi:10.17632/rscbjbr9sj."""

from cxrtransfer.data.records import Records
from cxrtransfer.types import StrPath

from .folder import read_folder

__all__ = ["load_kermany"]


def load_kermany(root: StrPath) -> Records:
    """Read the Kermany chest X-rays and the patient of each.

    Args:
        root: The unpacked folder, of version 2 (with or without the ``val`` of the common copy) or
            of version 3: the one that holds ``train`` and ``test``.

    Returns:
        The records, with classes ``("NORMAL", "PNEUMONIA")`` and every patient known.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the classes or any file name are not of this data set.
    """
    records = read_folder(root)
    if records.class_names != ("NORMAL", "PNEUMONIA"):
        raise ValueError(
            f"the Kermany chest X-rays have the classes NORMAL and PNEUMONIA, {root} has "
            f"{records.class_names}; use read_folder() for other images"
        )
    if not records.patients_known:
        own = next(
            name for name, row in zip(records.ids, records, strict=True) if row.patient_id == name
        )
        raise ValueError(
            f"no patient can be told from the name {own!r}; use read_folder() for other images"
        )
    return records
