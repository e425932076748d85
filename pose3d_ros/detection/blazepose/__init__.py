"""BlazePose, the embedded detector."""
