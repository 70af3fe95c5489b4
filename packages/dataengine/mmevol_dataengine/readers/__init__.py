"""Seed files that are tables: Parquet and Arrow, with the pictures inside them."""
