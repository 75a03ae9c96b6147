"""The way out: fetching what strangers name, without being led to where strangers must not look."""
