"""Drivers: they carry what the machine decides, and decide nothing."""
