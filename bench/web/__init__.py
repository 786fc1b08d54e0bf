"""What people see, measured in a real browser on an archive that is planted, not computed."""
