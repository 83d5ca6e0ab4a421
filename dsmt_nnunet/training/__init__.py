"""What an epoch needs beside the network: losses, stages, metrics and their curves."""
