"""nnU-Net's planners with the patch sized from the nodules; `dsmt plan -pl` names them."""
