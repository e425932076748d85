"""Evaluation against 3D truth: the pipeline on videos, lifters on recordings, several cameras."""
