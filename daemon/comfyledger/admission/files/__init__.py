"""Files that a request gives to inputs of its workflow."""
