"""Studies of published results: a file each, or a folder where a study has parts of its own."""
