"""The sections of the report, one topic per file."""
