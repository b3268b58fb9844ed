"""A file of which each row asks for a batch: from the file to rows, to requests, to what is said of the answers."""
