"""Estimates and generations → forecasts and diversity."""
