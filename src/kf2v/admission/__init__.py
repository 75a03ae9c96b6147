"""Who may ask for what: keys become callers, submissions become jobs.

Knows rows and rules; knows no HTTP and no pixels.
"""
