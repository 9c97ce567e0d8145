"""Floor 1: what crosses between parties. Messages, frames, and the payload bytes inside them."""
