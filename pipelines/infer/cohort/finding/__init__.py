"""Finds the cases, and those that are left to do."""
