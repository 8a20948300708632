"""The user's code: what a user writes, which handler answers what, where it runs. Knows nothing of tries or pages."""
