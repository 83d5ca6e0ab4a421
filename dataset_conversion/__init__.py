"""A table and images, or phantoms, become a raw data set of nnU-Net."""
