"""The one error of the report."""

from __future__ import annotations


class ReportError(ValueError):
    """A folder that gives no report; names file, field and remedy."""
