"""A scripted teacher: rewrites questions from annotations alone, behind an OpenAI-compatible HTTP server.

It is a default for trying the pipeline without a model, not a claim about what multimodal models write. It never
looks at an image: whatever it asks and answers follows from the caption, boxes and texts in the prompt.
"""
