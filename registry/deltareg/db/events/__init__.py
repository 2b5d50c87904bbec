"""Events that wait to be sent, and the webhooks that they are sent to."""
