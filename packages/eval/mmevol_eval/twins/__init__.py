"""Tiny twins: the benchmarks' official file formats filled from the tiny world's held-out pictures.

One file per benchmark, each with `write(scenes, root, count, seed) -> int` (how many items it wrote). Questions
follow the wording of the benchmark they stand for, because an arm must earn its score on phrasings that it was not
trained on. Every item is answerable from the annotations alone, answers are balanced, and where a question's text
would give the answer away (a blind shortcut) the texts are drawn alike for every answer.
"""
