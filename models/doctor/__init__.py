"""What this machine can do for Kinetag, found out without risk: each probe runs in a child.

`machine` (models/machine.py) reads what is safe to read; `probes` touches libraries and drivers
and runs in children only; `benchmark` measures; `estimate` and `findings` are pure.
"""
