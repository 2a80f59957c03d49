"""Endpoints: base models behind an OpenAI-compatible HTTP interface."""
