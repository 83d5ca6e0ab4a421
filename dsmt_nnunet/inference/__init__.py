"""Scans in, nodules and masks out. `scan_predictor` is the path that nnU-Net's commands and the Python door share."""
