"""Labelled renders of CC0 bodies in captured motions, for training and for the demo clip. Needs
``moderngl``.
"""
