"""The page, view by view: each is a module with its routes; what they look like stands in ``templates``."""
