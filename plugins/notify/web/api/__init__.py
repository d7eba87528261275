"""The API for programs, resource by resource: each is a module with its routes, and with what they answer.

What is handed over is checked by the same code as at every other door, and refused with the same words.
"""

#: Where it stands, below the app.
PREFIX = "/api/v1"
