"""Engines: one module or folder for each library that runs networks."""
