"""Data, losses, training loops and evaluation protocols; never imported at run time."""
