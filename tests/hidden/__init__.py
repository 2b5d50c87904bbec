"""Behaviour that hides: LoRAs with a trigger and without, on which the screen is measured."""
