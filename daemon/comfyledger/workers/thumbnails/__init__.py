"""Small pictures of images, made when they are asked for and kept in a cache.

`thumbnails` is what the server asks. `draw` makes a thumbnail from a file. Files come from strangers, so that runs in a
limited process (`__main__` is its end of it). `cache` keeps what was made in the state folder.
"""
