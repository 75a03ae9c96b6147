"""Door for programs: paths become handlers, keys become callers, and every error has one shape.

The only package, beside the console, that knows the web framework.
"""
