"""Work on what strangers gave, in a process of its own that has limits and ends with whatever breaks it.

`parent` starts the process and asks it, `child` is what it does at its own end, and `exchange` is what goes through the
pipes between them. What the process works on is the business of its module: a workflow, or a picture.
"""
