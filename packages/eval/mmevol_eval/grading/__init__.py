"""Rules shared by several benchmarks: reading files, parsing replies, adding up."""
