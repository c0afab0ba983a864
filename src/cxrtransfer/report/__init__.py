"""HTML report of a finished study."""

from .build import write_report
from .published import PUBLISHED, PublishedResult, published_for

__all__ = ["PUBLISHED", "PublishedResult", "published_for", "write_report"]
