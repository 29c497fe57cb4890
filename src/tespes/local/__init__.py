"""Servers that TESPES itself starts on this machine, on loopback, and that end with it."""
