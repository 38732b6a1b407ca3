"""The ``medrange`` command: argument parsing only."""
