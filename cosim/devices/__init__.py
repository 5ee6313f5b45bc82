"""Devices: the physics, written once (`base`), one file per device, found by name (`registry`)."""
