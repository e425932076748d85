"""Training data: recordings, motion capture, images, augmentation and detector noise."""
