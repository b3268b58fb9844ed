"""Workflows as people have them, made ready for the ComfyUI that will run them."""
