"""Tables → the report: one self-contained HTML file, and the same as Markdown."""
