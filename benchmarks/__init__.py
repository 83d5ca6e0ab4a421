"""Measurements against stock nnU-Net, side by side in one process. Run: make bench"""
