"""The Nexmark suite: a generator of its events, its queries as pipelines, and their measurement."""
