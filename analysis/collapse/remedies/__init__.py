"""Remedies of mode collapse, measured: ways of prompting and of decoding, side by side on the same prompts."""
