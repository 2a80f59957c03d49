"""What is computed: preferences → likelihood → regression → collapse → report.

A library that never imports Prefect. Between two stages stands a table on disk (`analysis.tables`).
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("typicality")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
