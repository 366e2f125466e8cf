"""Known weaknesses of models of this kind, measured on one model, policy and set of pictures."""
