"""Figures for monitoring: what processes count, and what the database says at the moment."""
