"""One self-contained HTML page of a run."""

from genrec.report.run_page import write_report

__all__ = ["write_report"]
