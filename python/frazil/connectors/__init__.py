"""The outside halves of sinks that are not tables: they make visible what the engine wrote."""
