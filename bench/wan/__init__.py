"""How fast the wan engine is on one GPU, step by step, with random weights at the real sizes; see ``__main__``."""
