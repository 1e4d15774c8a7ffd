"""What the papers claim, and whether it holds here: one row for every claim."""
