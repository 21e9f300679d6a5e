"""How long the model takes, beside the least that it could take."""
