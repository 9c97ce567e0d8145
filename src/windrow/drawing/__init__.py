"""What was recorded, as boxes and as figures: for the dashboard's pages, and for what clients write to files."""
