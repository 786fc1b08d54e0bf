"""Webhooks: who is told of what, signed messages, their delivery and its log."""
