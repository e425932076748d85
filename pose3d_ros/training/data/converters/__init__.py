"""Converters of datasets, as they are distributed, to recordings (``data.recordings``)."""
