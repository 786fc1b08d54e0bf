"""The science of Kinetag: from a video file to timed action segments.

Knows the standard library, numpy, OpenCV, PyAV and torch. Refuses to know the web, the queue,
the database and the environment.
"""
