"""Measurements and the scripts behind packaged data; nothing here is shipped."""
