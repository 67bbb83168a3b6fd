"""Templates, channels, preferences, delivery with retry, inbox."""
