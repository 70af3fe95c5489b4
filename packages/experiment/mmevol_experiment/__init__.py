"""The table of stages, the runner, the report and the command line."""
