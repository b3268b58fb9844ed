"""Documents that tools read, made from the types of the wire and of the events: JSON Schema, OpenAPI and AsyncAPI.

Nothing else imports this package until somebody asks for a document: it evaluates every annotation.
"""
