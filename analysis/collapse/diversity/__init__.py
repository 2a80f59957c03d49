"""How diverse sets of generations are: of one prompt, and over prompts."""
