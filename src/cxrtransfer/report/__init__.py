"""HTML report of a finished study."""

from .build import write_report
from .published import CITED_STUDIES, PUBLISHED, PublishedResult, published_for
from .wording import external_sentences, image_sentences

__all__ = [
    "CITED_STUDIES",
    "PUBLISHED",
    "PublishedResult",
    "external_sentences",
    "image_sentences",
    "published_for",
    "write_report",
]
