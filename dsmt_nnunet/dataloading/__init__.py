"""What training reads: coarse copies of the scans, patches of both scales, sampling, augmentation, splits."""
