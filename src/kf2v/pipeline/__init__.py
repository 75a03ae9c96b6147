"""How a video is made: one function one can read aloud, and the steps it names."""
