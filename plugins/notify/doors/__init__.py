"""Where messages are handed over: what is checked at each channel's door, and what is composed there."""
