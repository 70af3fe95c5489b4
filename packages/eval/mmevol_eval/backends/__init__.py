"""Other evaluators under our roof: the real VLMEvalKit, in an environment of its own."""
