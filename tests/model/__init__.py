"""An executable model of the delivery protocol, and the check that the code does what it allows."""
