"""The outside halves of sinks that are not tables: they make what the engine has written visible."""
