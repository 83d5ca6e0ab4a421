"""nnU-Net's trainers with two stages and several tasks; `-tr` names them."""
