"""Folders that tests look into."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
"""Data and fixtures that are no part of the package; tests that need them skip without."""
