"""Studies of published results: one file each, or one folder for a study with several parts."""
