"""Responses → scores: exact log-likelihoods of responses under a base language model."""
