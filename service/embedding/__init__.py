"""What lets a foreign web page show one job or one camera, without a stranger seeing a byte.

``signing`` has the deployment's secret, ``tokens``, ``tickets`` and ``frames`` are what is signed
with it, and ``viewers`` says at the door what the bearer of one of them may see.
"""
