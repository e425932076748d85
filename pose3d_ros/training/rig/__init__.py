"""Training data from a calibrated rig: several cameras label people for each other."""
