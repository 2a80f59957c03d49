"""Responses → scores: exact log-likelihoods of responses under a base language model."""

# Raised whenever a change of the code may change a score, what is excluded, or how either is recorded.
SCORER_VERSION = 2
