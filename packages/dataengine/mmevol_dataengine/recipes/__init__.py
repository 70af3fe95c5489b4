"""Recipes: each reads top to bottom as the story of how a record evolves."""
