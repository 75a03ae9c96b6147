"""Doors for hands: one file per command. Nothing heavy is imported until a command needs it."""
