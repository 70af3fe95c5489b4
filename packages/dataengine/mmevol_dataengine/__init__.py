"""Seed records to evolved records: MMEvol and MMInstruct recipes, verification, accounting."""
