"""The network: backbone, pooling, context encoder, heads. `build.build_network` makes it of a plan."""
