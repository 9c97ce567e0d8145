"""Floor 5: how parties are started, watched and stopped."""
