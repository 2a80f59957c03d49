"""Estimates of typicality bias → forecasts of what training on the labels would do to a model's diversity."""
