"""A dataset on the Hub or on disk → responses and comparisons, with everything left out counted by reason."""
