"""Knowledge as rows: which models there are, where they are served, what a resolution stands for."""
