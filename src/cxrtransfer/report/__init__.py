"""HTML report of a finished study."""

from .build import write_report
from .published import CITED_STUDIES, PUBLISHED, PublishedResult as PublishedResult
from .wording import external_sentences as external_sentences, image_sentences as image_sentences

__all__ = [
    "CITED_STUDIES",
    "PUBLISHED",
    "write_report",
]
