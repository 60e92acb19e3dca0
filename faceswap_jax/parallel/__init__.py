"""Devices: the mesh, the one sharding table, loops over personas."""
