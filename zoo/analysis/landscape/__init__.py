"""The loss landscape around and between models: the annotations of the Phase Transition zoos."""
