"""The ``pose3d`` command: one module for each subcommand."""
