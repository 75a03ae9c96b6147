"""DashScope's surface, version 1: one module per resource."""
