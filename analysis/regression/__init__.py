"""Comparisons and scores → estimates of typicality bias."""
