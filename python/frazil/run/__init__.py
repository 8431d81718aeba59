"""Running a pipeline: the coordinator and what it needs. Import from the modules."""
