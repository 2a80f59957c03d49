"""What runs when: the Prefect flow, the `typicality` command and the studies."""
