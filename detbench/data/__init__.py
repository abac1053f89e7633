"""What is looked at: datasets, their frames and their blur, image files."""
