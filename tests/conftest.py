"""What holds for every test."""

import signal


def pytest_configure():
    """A suite in the background of a shell ignores Ctrl-C, and so would every process that a test starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
