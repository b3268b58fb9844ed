"""ComfyUI's UI format, turned into its API format as ComfyUI's own page does it.

`convert` is pure. Documents come from strangers, so the daemon runs it in a process of its own (`process`, whose other
end is `__main__`): a document that takes too long or too much memory ends that process, and nothing else.
"""
