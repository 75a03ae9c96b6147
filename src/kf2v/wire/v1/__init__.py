"""Version 1 of the API, the only one DashScope has: the field names, the shapes and the times it prints."""
