"""Training: pairs of co-cited papers → a bi-encoder, by the procedure of SPECTER-CoCite."""
