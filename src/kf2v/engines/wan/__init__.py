"""The wan engine: a diffusion model imagines what happens between two pictures. Open Wan weights, one GPU.

Importing this loads no torch; the first take does.
"""
