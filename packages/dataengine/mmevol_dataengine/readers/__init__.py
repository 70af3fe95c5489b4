"""Seed files of every kind as rows: JSON streamed (`stream`), Parquet and Arrow with embedded pictures (`tables`)."""
