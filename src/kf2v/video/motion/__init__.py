"""Motion between two pictures: what belongs together, on which path it moves, and what is seen on the way.

Pure functions of the two pictures; knows no engine and no clip.
"""
