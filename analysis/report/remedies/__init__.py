"""The report of a study of remedies."""
