"""Batches: many videos under one id, fed to the job queue bit by bit."""
