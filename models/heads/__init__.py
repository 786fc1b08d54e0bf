"""Weakly supervised temporal action localization heads and the blocks they are built of."""
